-- Every product document that must exist, written by hand: the oracle for config/projections/product.yaml.
-- Rows are put together set by set, so that it stays quick with a hundred thousand products.
WITH current_prices AS (
    SELECT variant_id,
           jsonb_agg(jsonb_build_object('currency', currency, 'kind', kind, 'amount', amount, 'valid_from', valid_from) ORDER BY id) AS list
    FROM prices
    WHERE valid_to IS NULL
    GROUP BY variant_id
),
stocked AS (
    SELECT s.variant_id,
           jsonb_agg(jsonb_build_object(
               'quantity', s.quantity,
               'reserved', s.reserved,
               'warehouse', jsonb_build_object('code', w.code, 'name', w.name, 'country', w.country)
           ) ORDER BY s.warehouse_id) AS list,
           sum(s.quantity) AS available
    FROM stock s
    JOIN warehouses w ON w.id = s.warehouse_id
    GROUP BY s.variant_id
),
variants AS (
    SELECT v.product_id,
           jsonb_agg(jsonb_build_object(
               'id', v.id,
               'sku', v.sku,
               'title', v.title,
               'options', v.options,
               'active', v.active,
               'weight_grams', v.weight_grams,
               'prices', coalesce(p.list, '[]'),
               'stock', coalesce(s.list, '[]'),
               'available', s.available
           ) ORDER BY v.sku COLLATE "C") AS list,
           count(*) AS how_many
    FROM product_variants v
    LEFT JOIN current_prices p ON p.variant_id = v.id
    LEFT JOIN stocked s ON s.variant_id = v.id
    GROUP BY v.product_id
),
tagged AS (
    SELECT pt.product_id, jsonb_agg(t.name ORDER BY t.name COLLATE "C") AS names
    FROM product_tags pt
    JOIN tags t ON t.id = pt.tag_id
    GROUP BY pt.product_id
),
reviewed AS (
    SELECT r.product_id,
           jsonb_agg(jsonb_build_object(
               'id', r.id,
               'rating', r.rating,
               'title', r.title,
               'body', r.body,
               'at', r.created_at,
               'author', CASE WHEN c.id IS NOT NULL THEN jsonb_build_object('full_name', c.full_name) END
           ) ORDER BY r.id) AS list,
           count(*) AS how_many,
           min(r.rating) AS worst,
           max(r.rating) AS best
    FROM product_reviews r
    LEFT JOIN customers c ON c.id = r.customer_id
    WHERE r.approved
    GROUP BY r.product_id
),
shelves AS (
    SELECT c.id,
           jsonb_build_object(
               'id', c.id, 'name', c.name, 'slug', c.slug,
               'parent', CASE WHEN up.id IS NOT NULL THEN jsonb_build_object(
                   'id', up.id, 'name', up.name, 'slug', up.slug,
                   'parent', CASE WHEN top.id IS NOT NULL THEN jsonb_build_object(
                       'id', top.id, 'name', top.name, 'slug', top.slug) END) END) AS path
    FROM categories c
    LEFT JOIN categories up ON up.id = c.parent_id
    LEFT JOIN categories top ON top.id = up.parent_id
)
SELECT p.id::text AS id,
       jsonb_build_object(
           'id', p.id,
           'slug', p.slug,
           'name', p.name,
           'status', p.status,
           'description', p.description,
           'attributes', p.attributes,
           'keywords', to_jsonb(p.keywords),
           'weight_kg', p.weight_kg,
           'fragile', p.fragile,
           'released_on', p.released_on,
           'changed_at', p.updated_at,
           'brand', CASE WHEN b.id IS NOT NULL THEN jsonb_build_object(
               'id', b.id, 'name', b.name, 'slug', b.slug, 'country', b.country, 'founded_on', b.founded_on) END,
           'category', s.path,
           'tags', coalesce(t.names, '[]'),
           'variants', coalesce(v.list, '[]'),
           'reviews', coalesce(r.list, '[]'),
           'variant_count', coalesce(v.how_many, 0),
           'review_count', coalesce(r.how_many, 0),
           'rating_worst', r.worst,
           'rating_best', r.best
       ) AS document
FROM products p
LEFT JOIN brands b ON b.id = p.brand_id
LEFT JOIN shelves s ON s.id = p.category_id
LEFT JOIN tagged t ON t.product_id = p.id
LEFT JOIN variants v ON v.product_id = p.id
LEFT JOIN reviewed r ON r.product_id = p.id
WHERE p.status <> 'draft'
