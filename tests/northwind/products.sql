-- Every Northwind product document: the oracle for products.yaml.
SELECT p.product_id::text AS id,
       jsonb_build_object(
           'id', p.product_id,
           'name', p.product_name,
           'quantity_per_unit', p.quantity_per_unit,
           'unit_price', p.unit_price,
           'units_in_stock', p.units_in_stock,
           'reorder_level', p.reorder_level,
           'category', CASE WHEN c.category_id IS NOT NULL THEN jsonb_build_object(
               'category_id', c.category_id, 'category_name', c.category_name,
               'description', c.description, 'picture', replace(encode(c.picture, 'base64'), E'\n', '')) END,
           'supplier', CASE WHEN s.supplier_id IS NOT NULL THEN jsonb_build_object(
               'supplier_id', s.supplier_id, 'company_name', s.company_name, 'contact_name', s.contact_name,
               'region', s.region, 'country', s.country, 'homepage', s.homepage) END,
           'sales', coalesce(d.sales, '[]'),
           'times_ordered', coalesce(d.times_ordered, 0),
           'units_ordered', d.units_ordered,
           'best_discount', d.best_discount
       ) AS document
FROM products p
LEFT JOIN categories c ON c.category_id = p.category_id
LEFT JOIN suppliers s ON s.supplier_id = p.supplier_id
LEFT JOIN (
    SELECT product_id,
           jsonb_agg(jsonb_build_object('order_id', order_id, 'quantity', quantity, 'discount', discount)
                     ORDER BY order_id) AS sales,
           count(*) AS times_ordered,
           sum(quantity) AS units_ordered,
           max(discount) AS best_discount
    FROM order_details
    GROUP BY product_id
) AS d ON d.product_id = p.product_id
WHERE p.discontinued = 0
