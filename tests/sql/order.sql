-- Every order document that must exist, written by hand: the oracle for config/projections/order.yaml.
WITH places AS (
    SELECT id, jsonb_build_object('recipient', recipient, 'street', street, 'postal_code', postal_code,
                                  'city', city, 'country', country) AS place
    FROM addresses
),
articles AS (
    SELECT v.id,
           jsonb_build_object(
               'sku', v.sku,
               'title', v.title,
               'product', jsonb_build_object(
                   'id', p.id,
                   'name', p.name,
                   'brand', CASE WHEN b.id IS NOT NULL THEN jsonb_build_object('name', b.name) END)) AS article
    FROM product_variants v
    JOIN products p ON p.id = v.product_id
    LEFT JOIN brands b ON b.id = p.brand_id
),
lines AS (
    SELECT l.order_id,
           jsonb_agg(jsonb_build_object(
               'line_no', l.line_no,
               'title', l.title,
               'quantity', l.quantity,
               'unit_price', l.unit_price,
               'discount_percent', l.discount_percent,
               'line_total', l.line_total,
               'variant', a.article
           ) ORDER BY l.line_no) AS list,
           count(*) AS how_many,
           sum(l.quantity) AS units,
           sum(l.line_total) AS total,
           min(l.unit_price) AS cheapest,
           max(l.unit_price) AS dearest
    FROM order_lines l
    LEFT JOIN articles a ON a.id = l.variant_id
    GROUP BY l.order_id
),
paid AS (
    SELECT order_id,
           jsonb_agg(jsonb_build_object('id', id, 'method', method, 'status', status, 'amount', amount,
                                        'captured_at', captured_at) ORDER BY id) AS list,
           sum(amount) FILTER (WHERE status = 'captured') AS captured
    FROM payments
    GROUP BY order_id
),
parcels AS (
    SELECT sl.shipment_id,
           jsonb_agg(jsonb_build_object(
               'line_no', sl.line_no,
               'quantity', sl.quantity,
               'line', jsonb_build_object('title', l.title)
           ) ORDER BY sl.order_id, sl.line_no) AS list
    FROM shipment_lines sl
    JOIN order_lines l ON l.order_id = sl.order_id AND l.line_no = sl.line_no
    GROUP BY sl.shipment_id
),
shipped AS (
    SELECT s.order_id,
           jsonb_agg(jsonb_build_object(
               'id', s.id,
               'carrier', s.carrier,
               'tracking_code', s.tracking_code,
               'weight_kg', s.weight_kg,
               'shipped_at', s.shipped_at,
               'delivered_at', s.delivered_at,
               'warehouse', CASE WHEN w.id IS NOT NULL THEN jsonb_build_object('code', w.code, 'name', w.name) END,
               'parcel', coalesce(p.list, '[]')
           ) ORDER BY s.id) AS list
    FROM shipments s
    LEFT JOIN warehouses w ON w.id = s.warehouse_id
    LEFT JOIN parcels p ON p.shipment_id = s.id
    GROUP BY s.order_id
)
SELECT o.id::text AS id,
       jsonb_build_object(
           'id', o.id,
           'number', o.number,
           'status', o.status,
           'currency', o.currency,
           'shipping_fee', o.shipping_fee,
           'gift', o.gift,
           'note', o.note,
           'metadata', o.metadata,
           'placed_at', o.placed_at,
           'customer', jsonb_build_object(
               'id', c.id, 'public_id', c.public_id, 'full_name', c.full_name, 'email', c.email,
               'newsletter', c.newsletter, 'birth_date', c.birth_date, 'preferences', c.preferences),
           'billing_address', billing.place,
           'shipping_address', shipping.place,
           'lines', coalesce(l.list, '[]'),
           'payments', coalesce(p.list, '[]'),
           'shipments', coalesce(s.list, '[]'),
           'line_count', coalesce(l.how_many, 0),
           'units', l.units,
           'goods_total', l.total,
           'dearest', l.dearest,
           'cheapest', l.cheapest,
           'paid_total', p.captured
       ) AS document
FROM orders o
JOIN customers c ON c.id = o.customer_id
LEFT JOIN places billing ON billing.id = o.billing_address_id
LEFT JOIN places shipping ON shipping.id = o.shipping_address_id
LEFT JOIN lines l ON l.order_id = o.id
LEFT JOIN paid p ON p.order_id = o.id
LEFT JOIN shipped s ON s.order_id = o.id
WHERE o.status <> 'cart'
