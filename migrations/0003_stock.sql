-- What lies where.

CREATE TABLE warehouses (
    id      smallint PRIMARY KEY,
    code    varchar(12) NOT NULL UNIQUE,
    name    text NOT NULL,
    country char(2) NOT NULL
);

CREATE TABLE stock (
    variant_id   bigint NOT NULL REFERENCES product_variants ON DELETE CASCADE,
    warehouse_id smallint NOT NULL REFERENCES warehouses,
    quantity     integer NOT NULL DEFAULT 0 CHECK (quantity >= 0),
    reserved     integer NOT NULL DEFAULT 0 CHECK (reserved >= 0),
    counted_at   timestamptz,
    PRIMARY KEY (variant_id, warehouse_id)
);

CREATE INDEX stock_warehouse_id ON stock (warehouse_id);
