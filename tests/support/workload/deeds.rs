//! The statements of the workload. Each is one deed of the shop, drawn by dice; some are several statements.

use super::dice::Dice;

/// Writes SQL.
pub type Deed = fn(&mut Dice) -> String;

/// Weight, name, statement.
pub const DEEDS: &[(u64, &str, Deed)] = &[
    // --- products
    (14, "change a product, its long text unchanged", |d| {
        let (row, name, json) = (d.row("products"), d.text(), d.json());
        format!(
            "UPDATE products SET name = {name}, attributes = {json}, updated_at = clock_timestamp() WHERE id = {row}"
        )
    }),
    (3, "write a long description", |d| {
        let (row, text) = (d.row("products"), d.long_text());
        format!("UPDATE products SET description = {text} WHERE id = {row}")
    }),
    (6, "change a product's status", |d| {
        let (row, status) = (d.row("products"), d.one_of(&["draft", "active", "active", "retired"]));
        format!("UPDATE products SET status = '{status}' WHERE id = {row}")
    }),
    (6, "move a product to another brand and category", |d| {
        let (row, brand, category) =
            (d.row("products"), d.row_or_null("brands"), d.row_or_null("categories"));
        format!("UPDATE products SET brand_id = {brand}, category_id = {category} WHERE id = {row}")
    }),
    (5, "insert a product with variants and prices", |d| {
        let (key, brand, category) = (d.new_key(), d.row_or_null("brands"), d.row("categories"));
        let (name, text, status) = (d.text(), d.long_text(), d.one_of(&["draft", "active", "active"]));
        format!(
            "INSERT INTO products (id, brand_id, category_id, status, name, slug, description, keywords, weight_kg)
             VALUES ({key}, {brand}, {category}, '{status}', {name}, 'new-{key}', {text}, '{{\"a,b\",NULL,\"c\\\"d\"}}', 1.250);
             WITH v AS (INSERT INTO product_variants (product_id, sku, title)
                        SELECT {key}, 'NEW-{key}-' || i, 'variant ' || i FROM generate_series(1, 3) AS i RETURNING id)
             INSERT INTO prices (variant_id, currency, amount) SELECT id, 'EUR', 10 + id % 90 FROM v;
             INSERT INTO product_tags (product_id, tag_id) SELECT {key}, id FROM tags ORDER BY id LIMIT 3"
        )
    }),
    (2, "delete a product", |d| format!("DELETE FROM products WHERE id = {}", d.row("products"))),
    (2, "give a product another key", |d| {
        format!("UPDATE products SET id = {} WHERE id = {}", d.new_key(), d.row("products"))
    }),
    (1, "delete a product and insert it again", |d| {
        let row = d.row("products");
        format!(
            "CREATE TEMP TABLE kept ON COMMIT DROP AS SELECT * FROM products WHERE id = {row};
             DELETE FROM products WHERE id IN (SELECT id FROM kept);
             INSERT INTO products SELECT * FROM kept;
             DROP TABLE kept"
        )
    }),
    // --- variants, prices, stock
    (4, "move a variant to another product", |d| {
        let (row, product) = (d.row("product_variants"), d.row("products"));
        format!("UPDATE product_variants SET product_id = {product} WHERE id = {row}")
    }),
    (2, "delete a variant", |d| {
        format!("DELETE FROM product_variants WHERE id = {}", d.row("product_variants"))
    }),
    (8, "raise the current prices of a product", |d| {
        let row = d.row("products");
        format!(
            "UPDATE prices SET amount = amount + 0.01 WHERE valid_to IS NULL
             AND variant_id IN (SELECT id FROM product_variants WHERE product_id = {row})"
        )
    }),
    (5, "end a price and begin another", |d| {
        let row = d.row("product_variants");
        let amount = d.below(100_000);
        format!(
            "UPDATE prices SET valid_to = clock_timestamp() WHERE variant_id = {row} AND valid_to IS NULL AND kind = 'list';
             INSERT INTO prices (variant_id, currency, amount) SELECT id, 'EUR', {amount} / 100.0 FROM product_variants WHERE id = {row}"
        )
    }),
    (2, "move prices to another variant", |d| {
        let (from, to) = (d.row("product_variants"), d.row("product_variants"));
        format!("UPDATE prices SET variant_id = {to} WHERE variant_id = {from} AND valid_to IS NOT NULL")
    }),
    (8, "count stock", |d| {
        let (row, warehouse, quantity) = (d.row("product_variants"), d.between(1, 4), d.below(500));
        format!(
            "INSERT INTO stock (variant_id, warehouse_id, quantity) SELECT id, {warehouse}, {quantity} FROM product_variants WHERE id = {row}
             ON CONFLICT (variant_id, warehouse_id) DO UPDATE SET quantity = excluded.quantity, counted_at = now()"
        )
    }),
    (3, "move stock to another warehouse", |d| {
        let (row, from, to) = (d.row("product_variants"), d.between(1, 4), d.between(1, 4));
        format!("UPDATE stock SET warehouse_id = {to} WHERE variant_id = {row} AND warehouse_id = {from}")
    }),
    (2, "clear stock", |d| format!("DELETE FROM stock WHERE variant_id = {}", d.row("product_variants"))),
    // --- what many products share
    (2, "rename a brand", |d| {
        format!("UPDATE brands SET name = {} WHERE id = {}", d.text(), d.row("brands"))
    }),
    (1, "delete a brand", |d| format!("DELETE FROM brands WHERE id = {}", d.row("brands"))),
    (2, "insert a brand for a product", |d| {
        let (key, row) = (d.new_key(), d.row("products"));
        format!(
            "INSERT INTO brands (id, name, slug) VALUES ({key}, 'Brand {key}', 'new-brand-{key}');
             UPDATE products SET brand_id = {key} WHERE id = {row}"
        )
    }),
    (2, "move a category", |d| {
        let (row, parent) = (d.row("categories"), d.row_or_null("categories"));
        format!("UPDATE categories SET parent_id = {parent} WHERE id = {row}")
    }),
    (1, "delete a category", |d| {
        // Departments stay: otherwise the tree is gone after a few thousand transactions.
        format!("DELETE FROM categories WHERE id = {} AND id > 42", d.row("categories"))
    }),
    (1, "insert a category for a product", |d| {
        let (key, parent, row) = (d.new_key(), d.row_or_null("categories"), d.row("products"));
        format!(
            "INSERT INTO categories (id, parent_id, name, slug) VALUES ({key}, {parent}, 'Category {key}', 'new-category-{key}');
             UPDATE products SET category_id = {key} WHERE id = {row}"
        )
    }),
    (1, "rename a warehouse", |d| {
        format!("UPDATE warehouses SET name = {} WHERE id = {}", d.text(), d.between(1, 4))
    }),
    (2, "rename a tag", |d| {
        let (row, name) = (d.row("tags"), d.below(10_000));
        format!("UPDATE tags SET name = 'tag {name}' WHERE id = {row}")
    }),
    (1, "swap the names of two tags", |d| {
        let (one, other) = (d.row("tags"), d.row("tags"));
        format!(
            "CREATE TEMP TABLE pair ON COMMIT DROP AS SELECT a.id AS one, a.name AS one_name, b.id AS other, b.name AS other_name
                 FROM tags a, tags b WHERE a.id = {one} AND b.id = {other} AND a.id <> b.id;
             UPDATE tags SET name = 'swapping ' || id FROM pair WHERE id = one;
             UPDATE tags SET name = one_name FROM pair WHERE id = other;
             UPDATE tags SET name = other_name FROM pair WHERE id = one;
             DROP TABLE pair"
        )
    }),
    (5, "tag a product", |d| {
        let (row, tag) = (d.row("products"), d.row("tags"));
        format!(
            "INSERT INTO product_tags (product_id, tag_id) SELECT id, {tag} FROM products WHERE id = {row} ON CONFLICT DO NOTHING"
        )
    }),
    (2, "untag a product", |d| format!("DELETE FROM product_tags WHERE product_id = {}", d.row("products"))),
    (2, "exchange a product's tag", |d| {
        let (row, tag) = (d.row("products"), d.row("tags"));
        format!(
            "UPDATE product_tags SET tag_id = {tag} WHERE (product_id, tag_id) =
             (SELECT product_id, tag_id FROM product_tags WHERE product_id = {row} ORDER BY tag_id LIMIT 1)"
        )
    }),
    (2, "delete tags and insert them again", |d| {
        let row = d.row("products");
        format!(
            "CREATE TEMP TABLE kept ON COMMIT DROP AS SELECT * FROM product_tags WHERE product_id = {row};
             DELETE FROM product_tags WHERE product_id IN (SELECT product_id FROM kept);
             INSERT INTO product_tags SELECT * FROM kept;
             DROP TABLE kept"
        )
    }),
    // --- reviews
    (6, "write a review", |d| {
        let (row, customer, text) = (d.row("products"), d.row_or_null("customers"), d.text());
        let (rating, approved) = (d.between(1, 5), d.chance(50));
        format!(
            "INSERT INTO product_reviews (product_id, customer_id, rating, title, body, approved)
             SELECT id, {customer}, {rating}, {text}, {text}, {approved} FROM products WHERE id = {row}"
        )
    }),
    (5, "approve or hide reviews", |d| {
        format!("UPDATE product_reviews SET approved = NOT approved WHERE product_id = {}", d.row("products"))
    }),
    (2, "move a review", |d| {
        let (row, product) = (d.row("product_reviews"), d.row("products"));
        format!("UPDATE product_reviews SET product_id = {product} WHERE id = {row}")
    }),
    (2, "delete a review", |d| {
        format!("DELETE FROM product_reviews WHERE id = {}", d.row("product_reviews"))
    }),
    (2, "swap the keys of two reviews", |d| {
        let (one, other) = (d.row("product_reviews"), d.row("product_reviews"));
        format!(
            "CREATE TEMP TABLE pair ON COMMIT DROP AS SELECT {one} AS one, {other} AS other;
             DELETE FROM pair WHERE (one = other) IS NOT FALSE;
             UPDATE product_reviews SET id = -one FROM pair WHERE id = one;
             UPDATE product_reviews SET id = one FROM pair WHERE id = other;
             UPDATE product_reviews SET id = other FROM pair WHERE id = -one;
             DROP TABLE pair"
        )
    }),
    (1, "truncate the reviews", |d| {
        // Rare, and never the whole catalog's loss: some come back in the same transaction.
        let row = d.row("products");
        format!(
            "CREATE TEMP TABLE kept ON COMMIT DROP AS SELECT * FROM product_reviews WHERE id % 10 > 0;
             TRUNCATE product_reviews;
             INSERT INTO product_reviews SELECT * FROM kept;
             INSERT INTO product_reviews (product_id, rating) SELECT id, 3 FROM products WHERE id = {row};
             DROP TABLE kept"
        )
    }),
    // --- orders
    (8, "fill a cart", |d| {
        let (key, customer, variant) = (d.new_key(), d.row("customers"), d.row("product_variants"));
        format!(
            "INSERT INTO orders (id, customer_id) VALUES ({key}, {customer});
             INSERT INTO order_lines (order_id, line_no, variant_id, title, quantity, unit_price, line_total)
             SELECT {key}, row_number() OVER (ORDER BY id), id, title, 2, 9.90, 19.80
             FROM (SELECT id, title FROM product_variants WHERE id >= {variant} ORDER BY id LIMIT 4) AS v"
        )
    }),
    (9, "place a cart", |d| {
        let offset = d.below(6);
        let json = d.json();
        format!(
            "UPDATE orders SET status = 'placed', number = 'N-' || id, placed_at = clock_timestamp(), metadata = {json},
                 billing_address_id = (SELECT min(id) FROM addresses a WHERE a.customer_id = orders.customer_id)
             WHERE id = (SELECT id FROM orders WHERE status = 'cart' ORDER BY id DESC OFFSET {offset} LIMIT 1)"
        )
    }),
    (7, "pay an order", |d| {
        let row = d.row("orders");
        let amount = d.below(50_000);
        format!(
            "INSERT INTO payments (order_id, method, status, amount, captured_at)
             SELECT id, 'card', 'captured', {amount} / 100.0, now() FROM orders WHERE id = {row};
             UPDATE orders SET status = 'paid', number = coalesce(number, 'N-' || id), placed_at = coalesce(placed_at, now()) WHERE id = {row}"
        )
    }),
    (6, "ship an order", |d| {
        let (row, warehouse) = (d.row("orders"), d.between(1, 4));
        format!(
            "WITH parcel AS (INSERT INTO shipments (order_id, warehouse_id, carrier, weight_kg)
                             SELECT id, {warehouse}, 'DHL', 0.1 + random() FROM orders WHERE id = {row} RETURNING id, order_id)
             INSERT INTO shipment_lines (shipment_id, order_id, line_no, quantity)
             SELECT parcel.id, l.order_id, l.line_no, l.quantity FROM parcel JOIN order_lines l USING (order_id);
             UPDATE orders SET status = 'shipped', number = coalesce(number, 'N-' || id), placed_at = coalesce(placed_at, now()) WHERE id = {row}"
        )
    }),
    (4, "cancel an order or put it back into the cart", |d| {
        let (row, status) = (d.row("orders"), d.one_of(&["cancelled", "cart", "cart"]));
        format!(
            "UPDATE orders SET status = '{status}', number = coalesce(number, 'N-' || id), placed_at = coalesce(placed_at, now()) WHERE id = {row}"
        )
    }),
    (2, "delete an order", |d| format!("DELETE FROM orders WHERE id = {}", d.row("orders"))),
    (5, "move a line to another order", |d| {
        let (from, to) = (d.row("orders"), d.row("orders"));
        format!(
            "UPDATE order_lines SET order_id = {to},
                 line_no = (SELECT coalesce(max(line_no), 0) + 1 FROM order_lines WHERE order_id = {to})
             WHERE (order_id, line_no) = (SELECT order_id, line_no FROM order_lines WHERE order_id = {from} ORDER BY line_no LIMIT 1)"
        )
    }),
    (3, "shift the lines of an order by one", |d| {
        let row = d.row("orders");
        // From the last down, each onto the key that the one before it has just left.
        format!(
            "DO $$ DECLARE line record; BEGIN
                 FOR line IN SELECT order_id, line_no FROM order_lines WHERE order_id = {row} AND line_no < 30000 ORDER BY line_no DESC LOOP
                     UPDATE order_lines SET line_no = line.line_no + 1 WHERE order_id = line.order_id AND line_no = line.line_no;
                 END LOOP;
             END $$"
        )
    }),
    (2, "swap the first two lines of an order", |d| {
        let row = d.row("orders");
        format!(
            "DO $$ DECLARE this bigint := {row}; numbers smallint[] := ARRAY(SELECT line_no FROM order_lines WHERE order_id = this ORDER BY line_no LIMIT 2); BEGIN
                 IF cardinality(numbers) = 2 THEN
                     UPDATE order_lines SET line_no = 32000 WHERE order_id = this AND line_no = numbers[1];
                     UPDATE order_lines SET line_no = numbers[1] WHERE order_id = this AND line_no = numbers[2];
                     UPDATE order_lines SET line_no = numbers[2] WHERE order_id = this AND line_no = 32000;
                 END IF;
             END $$"
        )
    }),
    (5, "change the quantities of an order", |d| {
        format!(
            "UPDATE order_lines SET quantity = quantity % 50 + 1, line_total = unit_price * (quantity % 50 + 1) WHERE order_id = {}",
            d.row("orders")
        )
    }),
    (2, "delete a line", |d| {
        let row = d.row("orders");
        format!(
            "DELETE FROM order_lines WHERE order_id = {row} AND line_no = (SELECT min(line_no) FROM order_lines WHERE order_id = {row})"
        )
    }),
    (2, "move payments to another order", |d| {
        format!("UPDATE payments SET order_id = {} WHERE order_id = {}", d.row("orders"), d.row("orders"))
    }),
    (2, "deliver or lose shipments", |d| {
        let row = d.row("orders");
        if d.chance(60) {
            format!(
                "UPDATE shipments SET delivered_at = clock_timestamp(), tracking_code = NULL WHERE order_id = {row}"
            )
        } else {
            format!("DELETE FROM shipments WHERE order_id = {row}")
        }
    }),
    // --- customers
    (4, "change a customer", |d| {
        let (row, text, json) = (d.row("customers"), d.text(), d.json());
        format!(
            "UPDATE customers SET full_name = {text}, preferences = {json}, newsletter = NOT newsletter WHERE id = {row}"
        )
    }),
    (3, "move house", |d| {
        let (row, text) = (d.row("addresses"), d.text());
        format!("UPDATE addresses SET street = {text}, country = 'SE' WHERE id = {row}")
    }),
    (2, "delete an address", |d| format!("DELETE FROM addresses WHERE id = {}", d.row("addresses"))),
    (2, "register a customer", |d| {
        let (key, text) = (d.new_key(), d.text());
        format!(
            "INSERT INTO customers (id, email, full_name) VALUES ({key}, 'new{key}@shop.example', {text});
             INSERT INTO addresses (customer_id, recipient, street, postal_code, city, country) VALUES ({key}, {text}, 'Lindenweg 1', '10115', 'Berlin', 'DE')"
        )
    }),
    (1, "delete a customer", |d| format!("DELETE FROM customers WHERE id = {}", d.row("customers"))),
    // --- what must change no document
    (2, "update rows to what they are", |d| {
        format!("UPDATE products SET name = name WHERE id = {}", d.row("products"))
    }),
];
