-- Fills the shop. The same numbers give the same rows, on every machine and version.
--
--   psql -1 -v products=10000 -v orders=50000 -f scripts/shop-data.sql
--
-- Everything random is `dice(row, topic, sides)`: a hash, so that no row depends on the order of execution.

\if :{?products} \else \set products 10000 \endif
\if :{?orders} \else \set orders 50000 \endif

-- 0 .. sides - 1
CREATE FUNCTION pg_temp.dice(row_no bigint, topic bigint, sides bigint) RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ SELECT ((hashint8extended(row_no, topic) & 9223372036854775807) % sides)::integer $$;

CREATE FUNCTION pg_temp.one_of(words text[], row_no bigint, topic bigint) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ SELECT words[1 + ((hashint8extended(row_no, topic) & 9223372036854775807) % cardinality(words))::integer] $$;

-- A moment in the two years before 2026-06-01, to the microsecond.
CREATE FUNCTION pg_temp.moment(row_no bigint, topic bigint) RETURNS timestamptz
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    AS $$ SELECT timestamptz '2026-06-01 00:00:00+00' - ((hashint8extended(row_no, topic) & 9223372036854775807) % 63072000000000) * interval '1 microsecond' $$;

CREATE TEMP TABLE words ON COMMIT DROP AS SELECT
    '{Anna,Ben,Clara,David,Elif,Finn,Greta,Hugo,Ines,Jonas,Katarína,Luca,Mia,Noah,Olga,Paul,Quentin,Rosa,Søren,Tomás,Uma,Viktor,Wanda,Xenia,Yusuf,Zoë}'::text[] AS first_names,
    '{Müller,Smith,García,Rossi,Novák,Kowalski,Jensen,Nguyen,Okafor,Silva,Dubois,Öztürk,Ivanova,Andersson,O''Brien,Van den Berg,Tanaka,Papadopoulos,Haddad,Schröder}'::text[] AS last_names,
    '{Lindenweg,Hauptstraße,Rue de Lyon,Station Road,Via Roma,Calle Mayor,Kerkstraat,Dlouhá,Nørregade,Mühlgasse}'::text[] AS streets,
    '{Berlin,Lyon,Leeds,Torino,Sevilla,Utrecht,Brno,Aarhus,Graz,Kraków,Zürich,Malmö}'::text[] AS cities,
    '{DE,FR,GB,IT,ES,NL,CZ,DK,AT,PL,CH,SE}'::text[] AS countries,
    '{Trail,Urban,Alpine,Coastal,Nordic,Classic,Studio,Summit,Harbour,Meadow,Ember,Quartz,Willow,Falcon,Copper}'::text[] AS lines,
    '{light,compact,waterproof,insulated,folding,ergonomic,recycled,hand-made,quiet,modular,heavy-duty,wireless}'::text[] AS qualities,
    '{jacket,backpack,lamp,kettle,tent,chair,desk,headphones,bottle,sneaker,blanket,drill,bicycle light,notebook,pan,scarf,speaker,mug}'::text[] AS things,
    '{steel,oak,wool,cotton,aluminium,glass,bamboo,linen,leather,cork,ceramic,nylon}'::text[] AS materials,
    '{black,white,navy,olive,sand,rust,teal,grey}'::text[] AS colours,
    '{XS,S,M,L,XL}'::text[] AS sizes,
    ('{the,and,with,for,a,made,from,every,day,season,built,to,last,careful,detail,stitched,tested,in,wind,rain,city,mountain,comfort,weight,balance,'
     || 'pocket,seam,handle,surface,warm,cool,dry,repair,parts,warranty,supplier,traceable,certified,water,heat,hours,minutes,light,strong,soft,edge,'
     || 'fit,size,colour,care,wash,cold,gentle,dryer,iron,store,away,sunlight,children,family,guests,travel,carry,fold,open,close,lock,release,charge,'
     || 'battery,cable,adapter,manual,online,service,years,returns,free,gift,box,label,batch,origin,factory,hand,finished,polished,brushed,coated}')::text[] AS prose;

-- --- customers ------------------------------------------------------------------------------------------

INSERT INTO customers (id, public_id, email, full_name, phone, birth_date, newsletter, preferences, created_at, updated_at)
SELECT i,
       md5('customer ' || i)::uuid,
       'customer' || i || '@shop.example',
       pg_temp.one_of(first_names, i, 1) || ' ' || pg_temp.one_of(last_names, i, 2),
       CASE WHEN pg_temp.dice(i, 3, 3) > 0 THEN '+49 30 ' || lpad(pg_temp.dice(i, 4, 10000000)::text, 7, '0') END,
       CASE WHEN pg_temp.dice(i, 5, 4) > 0 THEN date '1940-01-01' + pg_temp.dice(i, 6, 24000) END,
       pg_temp.dice(i, 7, 3) = 0,
       CASE pg_temp.dice(i, 8, 3)
           WHEN 0 THEN '{}'::jsonb
           WHEN 1 THEN jsonb_build_object('language', lower(pg_temp.one_of(countries, i, 9)))
           ELSE jsonb_build_object('language', 'en', 'limits', jsonb_build_array(pg_temp.dice(i, 10, 100) / 4.0, NULL, true))
       END,
       pg_temp.moment(i, 11),
       pg_temp.moment(i, 12)
FROM words, generate_series(1, greatest(1, :orders / 5)) AS i;

INSERT INTO addresses (id, customer_id, label, recipient, street, postal_code, city, country, created_at)
SELECT 2 * c.id - nth,
       c.id,
       CASE WHEN nth = 0 THEN 'home' WHEN pg_temp.dice(c.id, 20, 2) = 0 THEN 'work' END,
       c.full_name,
       pg_temp.one_of(streets, 2 * c.id - nth, 21) || ' ' || 1 + pg_temp.dice(2 * c.id - nth, 22, 180),
       lpad(pg_temp.dice(2 * c.id - nth, 23, 100000)::text, 5, '0'),
       pg_temp.one_of(cities, 2 * c.id - nth, 24),
       pg_temp.one_of(countries, 2 * c.id - nth, 24),
       c.created_at
FROM words, customers c, generate_series(0, 1) AS nth
WHERE nth = 0 OR pg_temp.dice(c.id, 25, 2) = 0;

-- --- catalog --------------------------------------------------------------------------------------------

INSERT INTO brands (id, name, slug, country, founded_on, website)
SELECT i,
       pg_temp.one_of(last_names, i, 30) || ' ' || (ARRAY['& Co', 'Works', 'Outdoor', 'Design'])[1 + i % 4],
       'brand-' || i,
       CASE WHEN i % 7 > 0 THEN pg_temp.one_of(countries, i, 31) END,
       CASE WHEN i % 5 > 0 THEN date '1880-01-01' + pg_temp.dice(i, 32, 50000) END,
       CASE WHEN i % 3 > 0 THEN 'www.brand-' || i || '.example' END
FROM words, generate_series(1, greatest(5, :products / 50)) AS i;

-- Six departments, six sections in each, four shelves in each section.
INSERT INTO categories (id, parent_id, name, slug, position)
SELECT i, NULL, (ARRAY['Outdoor', 'Home', 'Kitchen', 'Office', 'Clothing', 'Tools'])[i], 'department-' || i, i
FROM generate_series(1, 6) AS i;

INSERT INTO categories (id, parent_id, name, slug, position)
SELECT 6 + i, 1 + (i - 1) / 6, initcap(pg_temp.one_of(lines, i, 33)) || ' ' || pg_temp.one_of(things, i, 34), 'section-' || i, 1 + (i - 1) % 6
FROM words, generate_series(1, 36) AS i;

INSERT INTO categories (id, parent_id, name, slug, position)
SELECT 42 + i, 7 + (i - 1) / 4, initcap(pg_temp.one_of(qualities, i, 35)) || ' ' || pg_temp.one_of(things, i, 36), 'shelf-' || i, 1 + (i - 1) % 4
FROM words, generate_series(1, 144) AS i;

INSERT INTO tags (id, name)
SELECT row_number() OVER (ORDER BY quality, material), quality || ' ' || material
FROM words, unnest(qualities) AS quality, unnest(materials) AS material;

INSERT INTO products (id, brand_id, category_id, status, name, slug, description, attributes, keywords, weight_kg, fragile, released_on, created_at, updated_at)
SELECT i,
       CASE WHEN pg_temp.dice(i, 40, 20) > 0 THEN 1 + pg_temp.dice(i, 41, greatest(5, :products / 50)) END,
       CASE WHEN pg_temp.dice(i, 42, 30) > 0 THEN 1 + pg_temp.dice(i, 43, 186) END,
       (CASE pg_temp.dice(i, 44, 12) WHEN 0 THEN 'draft' WHEN 1 THEN 'retired' ELSE 'active' END)::product_status,
       pg_temp.one_of(lines, i, 45) || ' ' || pg_temp.one_of(qualities, i, 46) || ' ' || pg_temp.one_of(things, i, 47),
       'product-' || i,
       'A ' || pg_temp.one_of(qualities, i, 46) || ' ' || pg_temp.one_of(things, i, 47) || ' of ' || pg_temp.one_of(materials, i, 48)
           || E'. "Made to last", they say.\nCare: wipe clean, 30 °C.',
       jsonb_build_object('material', pg_temp.one_of(materials, i, 48), 'recycled', pg_temp.dice(i, 49, 2) = 0,
                          'size_cm', jsonb_build_array(round(pg_temp.dice(i, 50, 900) / 10.0, 1), round(pg_temp.dice(i, 51, 900) / 10.0, 1)),
                          'energy', CASE WHEN pg_temp.dice(i, 52, 4) = 0 THEN jsonb_build_object('class', 'B', 'watts', pg_temp.dice(i, 53, 2000)) END),
       (ARRAY[pg_temp.one_of(things, i, 47), pg_temp.one_of(materials, i, 48), pg_temp.one_of(lines, i, 45)])[1:pg_temp.dice(i, 54, 4)],
       CASE WHEN pg_temp.dice(i, 55, 10) > 0 THEN (1 + pg_temp.dice(i, 56, 40000)) / 1000.0 END,
       pg_temp.dice(i, 57, 9) = 0,
       CASE WHEN pg_temp.dice(i, 58, 6) > 0 THEN date '2018-01-01' + pg_temp.dice(i, 59, 3000) END,
       pg_temp.moment(i, 60),
       pg_temp.moment(i, 61)
FROM words, generate_series(1, :products) AS i;

-- One in twenty has a story to tell: long enough to be stored out of line even when compressed.
UPDATE products SET description = description || E'\n\n' || story.story
FROM (SELECT i, string_agg(prose[1 + pg_temp.dice(i * 2000 + w, 62, cardinality(prose))], ' ' ORDER BY w) AS story
      FROM words, generate_series(20, :products, 20) AS i, generate_series(1, 1500) AS w
      GROUP BY i) AS story
WHERE products.id = story.i;

INSERT INTO product_tags (product_id, tag_id, added_at)
SELECT DISTINCT ON (i, tag_id) i, tag_id, pg_temp.moment(i, 70)
FROM generate_series(1, :products) AS i, generate_series(1, 5) AS nth,
     LATERAL (SELECT 1 + pg_temp.dice(i * 8 + nth, 71, 144) AS tag_id) AS tag
WHERE nth <= pg_temp.dice(i, 72, 6);

INSERT INTO product_variants (id, product_id, sku, title, options, weight_grams, active)
SELECT i * 4 - nth,
       i,
       'SKU-' || lpad(i::text, 7, '0') || '-' || nth,
       pg_temp.one_of(colours, i * 4 - nth, 80) || ' / ' || pg_temp.one_of(sizes, i * 4 - nth, 81),
       jsonb_build_object('colour', pg_temp.one_of(colours, i * 4 - nth, 80), 'size', pg_temp.one_of(sizes, i * 4 - nth, 81)),
       CASE WHEN pg_temp.dice(i * 4 - nth, 82, 8) > 0 THEN 20 + pg_temp.dice(i * 4 - nth, 83, 30000) END,
       pg_temp.dice(i * 4 - nth, 84, 15) > 0
FROM words, generate_series(1, :products) AS i, generate_series(0, 3) AS nth
WHERE nth < pg_temp.dice(i, 85, 5);

-- A list price in euro for nearly all, in dollars for many, a sale for some, and what it cost before.
INSERT INTO prices (id, variant_id, currency, kind, amount, valid_from, valid_to)
SELECT v.id * 5 - nth,
       v.id,
       CASE nth WHEN 1 THEN 'USD' ELSE 'EUR' END,
       (CASE nth WHEN 2 THEN 'sale' ELSE 'list' END)::price_kind,
       round((199 + pg_temp.dice(v.id, 90, 50000)) / 100.0 * (ARRAY[1.0, 1.08, 0.8, 0.9])[nth + 1], 2),
       timestamptz '2026-01-01 00:00:00+00' - nth * interval '30 days',
       CASE WHEN nth = 3 THEN timestamptz '2025-12-31 23:00:00+00' END
FROM product_variants v, generate_series(0, 3) AS nth
WHERE pg_temp.dice(v.id * 5 - nth, 91, 100) < (ARRAY[97, 60, 15, 40])[nth + 1];

INSERT INTO product_reviews (id, product_id, customer_id, rating, title, body, approved, created_at)
SELECT row_number() OVER (ORDER BY i, nth),
       i,
       CASE WHEN pg_temp.dice(i * 16 + nth, 100, 10) > 0 THEN 1 + pg_temp.dice(i * 16 + nth, 101, greatest(1, :orders / 5)) END,
       (pg_temp.dice(i * 16 + nth, 102, 5) + pg_temp.dice(i * 16 + nth, 103, 5) + 2) / 2,
       CASE WHEN pg_temp.dice(i * 16 + nth, 104, 3) > 0 THEN initcap(pg_temp.one_of(qualities, i * 16 + nth, 105)) || '!' END,
       'My ' || pg_temp.one_of(things, i, 47) || ' is ' || pg_temp.one_of(qualities, i * 16 + nth, 106) || ', said my '
           || (ARRAY['neighbour', 'aunt', 'colleague', 'dog'])[1 + pg_temp.dice(i * 16 + nth, 107, 4)] || '.',
       pg_temp.dice(i * 16 + nth, 108, 5) > 0,
       pg_temp.moment(i * 16 + nth, 109)
FROM words, generate_series(1, :products) AS i, generate_series(1, 12) AS nth
WHERE nth <= pg_temp.dice(i, 110, 13) AND pg_temp.dice(i, 111, 2) = 0;

-- --- stock ----------------------------------------------------------------------------------------------

INSERT INTO warehouses (id, code, name, country) VALUES
    (1, 'BER-1', 'Berlin Westhafen', 'DE'),
    (2, 'LYS-1', 'Lyon Corbas', 'FR'),
    (3, 'BRQ-1', 'Brno Slatina', 'CZ'),
    (4, 'MMX-1', 'Malmö Hamnen', 'SE');

INSERT INTO stock (variant_id, warehouse_id, quantity, reserved, counted_at)
SELECT v.id, w.id,
       pg_temp.dice(v.id * 4 + w.id, 120, 400),
       pg_temp.dice(v.id * 4 + w.id, 121, 20),
       CASE WHEN pg_temp.dice(v.id * 4 + w.id, 122, 3) > 0 THEN pg_temp.moment(v.id * 4 + w.id, 123) END
FROM product_variants v, warehouses w
WHERE pg_temp.dice(v.id * 4 + w.id, 124, 2) = 0;

-- --- orders ---------------------------------------------------------------------------------------------

INSERT INTO orders (id, number, customer_id, billing_address_id, shipping_address_id, status, currency, shipping_fee, gift, note, metadata, placed_at, updated_at)
SELECT i,
       CASE WHEN status <> 'cart' THEN 'S-' || lpad(i::text, 8, '0') END,
       customer,
       CASE WHEN status <> 'cart' AND pg_temp.dice(i, 130, 40) > 0 THEN 2 * customer END,
       CASE WHEN status <> 'cart' THEN CASE WHEN second.id IS NOT NULL AND pg_temp.dice(i, 131, 2) = 0 THEN second.id ELSE 2 * customer END END,
       status::order_status,
       CASE WHEN pg_temp.dice(i, 132, 4) = 0 THEN 'USD' ELSE 'EUR' END,
       (ARRAY[0, 4.90, 9.50])[1 + pg_temp.dice(i, 133, 3)],
       pg_temp.dice(i, 134, 12) = 0,
       CASE WHEN pg_temp.dice(i, 135, 6) = 0 THEN E'Please ring twice.\tThe dog is friendly — "mostly".' END,
       CASE WHEN pg_temp.dice(i, 136, 3) = 0 THEN jsonb_build_object('channel', (ARRAY['web', 'app', 'shop'])[1 + pg_temp.dice(i, 137, 3)], 'campaign', NULL) END,
       CASE WHEN status <> 'cart' THEN pg_temp.moment(i, 138) END,
       pg_temp.moment(i, 139)
FROM generate_series(1, :orders) AS i
CROSS JOIN LATERAL (SELECT 1 + pg_temp.dice(i, 140, greatest(1, :orders / 5)) AS customer,
                           (ARRAY['cart', 'placed', 'placed', 'paid', 'paid', 'shipped', 'shipped', 'delivered', 'delivered', 'delivered', 'delivered', 'cancelled'])[1 + pg_temp.dice(i, 141, 12)] AS status) AS o
LEFT JOIN addresses second ON second.id = 2 * customer - 1;

CREATE TEMP TABLE numbered_variants ON COMMIT DROP AS
SELECT row_number() OVER (ORDER BY v.id) AS n, v.id, p.name || ', ' || v.title AS title, coalesce(price.amount, 9.99) AS amount
FROM product_variants v JOIN products p ON p.id = v.product_id
LEFT JOIN prices price ON price.variant_id = v.id AND price.currency = 'EUR' AND price.kind = 'list' AND price.valid_to IS NULL;
CREATE UNIQUE INDEX ON numbered_variants (n);
ANALYZE numbered_variants;

-- Half of all lines go to one variant in ten: some products are on very many orders.
INSERT INTO order_lines (order_id, line_no, variant_id, title, quantity, unit_price, line_total, discount_percent)
SELECT i, nth,
       CASE WHEN pg_temp.dice(i * 8 + nth, 150, 60) > 0 THEN v.id END,
       v.title, quantity, v.amount, round(v.amount * quantity * (1 - coalesce(discount, 0) / 100), 2), discount
FROM (SELECT i, nth,
             1 + pg_temp.dice(i * 8 + nth, 151, CASE WHEN pg_temp.dice(i * 8 + nth, 152, 2) = 0 THEN greatest(1, count / 10) ELSE greatest(1, count) END) AS n,
             1 + pg_temp.dice(i * 8 + nth, 153, 4) AS quantity,
             CASE WHEN pg_temp.dice(i * 8 + nth, 154, 8) = 0 THEN 12.5 END AS discount
      FROM (SELECT count(*) FROM numbered_variants) AS variants, generate_series(1, :orders) AS i, generate_series(1, 5) AS nth
      WHERE nth <= pg_temp.dice(i, 155, 6)) AS line
JOIN numbered_variants v USING (n);

INSERT INTO payments (id, order_id, method, status, amount, captured_at, created_at)
SELECT md5('payment ' || o.id || ' ' || nth)::uuid,
       o.id,
       (ARRAY['card', 'transfer', 'wallet', 'invoice'])[1 + pg_temp.dice(o.id * 2 + nth, 160, 4)],
       (CASE WHEN nth = 1 THEN 'failed' WHEN o.status = 'cancelled' THEN 'refunded' WHEN o.status = 'placed' THEN 'pending' ELSE 'captured' END)::payment_status,
       o.shipping_fee + coalesce((SELECT sum(line_total) FROM order_lines WHERE order_id = o.id), 0),
       CASE WHEN nth = 0 AND o.status IN ('paid', 'shipped', 'delivered') THEN o.placed_at + interval '3 minutes' END,
       o.placed_at + nth * interval '1 minute'
FROM orders o, generate_series(0, 1) AS nth
WHERE o.status <> 'cart' AND (nth = 0 OR pg_temp.dice(o.id, 161, 12) = 0);

INSERT INTO shipments (id, order_id, warehouse_id, carrier, tracking_code, weight_kg, shipped_at, delivered_at)
SELECT o.id, o.id,
       CASE WHEN pg_temp.dice(o.id, 170, 25) > 0 THEN 1 + pg_temp.dice(o.id, 171, 4) END,
       (ARRAY['DHL', 'PostNord', 'Colissimo', 'Zásilkovna'])[1 + pg_temp.dice(o.id, 172, 4)],
       upper(substr(md5('parcel ' || o.id), 1, 14)),
       (1 + pg_temp.dice(o.id, 173, 30000)) / 1000.0,
       o.placed_at + interval '1 day',
       CASE WHEN o.status = 'delivered' THEN o.placed_at + interval '3 days' END
FROM orders o
WHERE o.status IN ('shipped', 'delivered');

INSERT INTO shipment_lines (shipment_id, order_id, line_no, quantity)
SELECT s.id, l.order_id, l.line_no, l.quantity
FROM shipments s JOIN order_lines l USING (order_id);

-- The rows came with their numbers; what the shop adds goes on behind them.
SELECT setval(pg_get_serial_sequence(name, 'id'), next)
FROM (SELECT 'customers' AS name, (SELECT max(id) FROM customers) AS next
      UNION ALL SELECT 'addresses', (SELECT max(id) FROM addresses)
      UNION ALL SELECT 'brands', (SELECT max(id) FROM brands)
      UNION ALL SELECT 'categories', (SELECT max(id) FROM categories)
      UNION ALL SELECT 'products', (SELECT max(id) FROM products)
      UNION ALL SELECT 'tags', (SELECT max(id) FROM tags)
      UNION ALL SELECT 'product_variants', (SELECT max(id) FROM product_variants)
      UNION ALL SELECT 'prices', (SELECT max(id) FROM prices)
      UNION ALL SELECT 'product_reviews', (SELECT max(id) FROM product_reviews)
      UNION ALL SELECT 'orders', (SELECT max(id) FROM orders)
      UNION ALL SELECT 'shipments', (SELECT max(id) FROM shipments)) AS sequences
WHERE next IS NOT NULL;
