-- Every Northwind order document: the oracle for orders.yaml. bytea becomes base64.
SELECT o.order_id::text AS id,
       jsonb_build_object(
           'id', o.order_id,
           'ordered_on', o.order_date,
           'required_on', o.required_date,
           'shipped_on', o.shipped_date,
           'freight', o.freight,
           'ship_name', o.ship_name,
           'ship_city', o.ship_city,
           'ship_region', o.ship_region,
           'ship_country', o.ship_country,
           'customer', CASE WHEN c.customer_id IS NOT NULL THEN jsonb_build_object(
               'customer_id', c.customer_id, 'company_name', c.company_name, 'contact_name', c.contact_name,
               'city', c.city, 'country', c.country) END,
           'employee', CASE WHEN e.employee_id IS NOT NULL THEN jsonb_build_object(
               'id', e.employee_id, 'first_name', e.first_name, 'last_name', e.last_name, 'title', e.title,
               'born_on', e.birth_date, 'notes', e.notes, 'photo', replace(encode(e.photo, 'base64'), E'\n', ''),
               'boss', CASE WHEN boss.employee_id IS NOT NULL THEN jsonb_build_object(
                   'employee_id', boss.employee_id, 'last_name', boss.last_name) END,
               'territories', coalesce((
                   SELECT jsonb_agg(t.territory_description ORDER BY t.territory_description COLLATE "C", t.territory_id COLLATE "C")
                   FROM employee_territories et JOIN territories t ON t.territory_id = et.territory_id
                   WHERE et.employee_id = e.employee_id), '[]')) END,
           'shipper', CASE WHEN s.shipper_id IS NOT NULL THEN jsonb_build_object(
               'company_name', s.company_name, 'phone', s.phone) END,
           'lines', coalesce(d.lines, '[]'),
           'line_count', coalesce(d.line_count, 0),
           'units', d.units,
           'dearest', d.dearest,
           'cheapest', d.cheapest
       ) AS document
FROM orders o
LEFT JOIN customers c ON c.customer_id = o.customer_id
LEFT JOIN employees e ON e.employee_id = o.employee_id
LEFT JOIN employees boss ON boss.employee_id = e.reports_to
LEFT JOIN shippers s ON s.shipper_id = o.ship_via
LEFT JOIN (
    SELECT od.order_id,
           jsonb_agg(jsonb_build_object(
               'unit_price', od.unit_price, 'quantity', od.quantity, 'discount', od.discount,
               'product', jsonb_build_object(
                   'id', p.product_id, 'name', p.product_name,
                   'category', CASE WHEN cat.category_id IS NOT NULL THEN jsonb_build_object(
                       'category_name', cat.category_name, 'picture', replace(encode(cat.picture, 'base64'), E'\n', '')) END,
                   'supplier', CASE WHEN sup.supplier_id IS NOT NULL THEN jsonb_build_object(
                       'company_name', sup.company_name, 'country', sup.country) END)
           ) ORDER BY od.product_id) AS lines,
           count(*) AS line_count,
           sum(od.quantity) AS units,
           max(od.unit_price) AS dearest,
           min(od.unit_price) AS cheapest
    FROM order_details od
    JOIN products p ON p.product_id = od.product_id
    LEFT JOIN categories cat ON cat.category_id = p.category_id
    LEFT JOIN suppliers sup ON sup.supplier_id = p.supplier_id
    GROUP BY od.order_id
) AS d ON d.order_id = o.order_id
