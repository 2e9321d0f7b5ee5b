-- The shop: ten years of one application, with what such databases have picked up on the way.
-- Runs on MySQL and MariaDB alike, with sql_mode = 'NO_ENGINE_SUBSTITUTION' (zero dates).

-- First, since its comment says whose database this is.
CREATE TABLE settings (
  name varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  value longtext NOT NULL,
  changed_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
  PRIMARY KEY (name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci
  COMMENT='made by the dbbridge demo, which may drop this database';

CREATE TABLE countries (
  code char(2) NOT NULL COMMENT 'ISO 3166',
  name varchar(60) NOT NULL,
  vat decimal(4,2) unsigned NOT NULL DEFAULT '0.00',
  in_union tinyint(1) NOT NULL DEFAULT '0',
  PRIMARY KEY (code)
) ENGINE=InnoDB DEFAULT CHARSET=latin1 COLLATE=latin1_swedish_ci;

CREATE TABLE categories (
  id smallint unsigned NOT NULL AUTO_INCREMENT,
  parent smallint unsigned DEFAULT NULL COMMENT 'no foreign key: imports come in any order',
  title varchar(80) NOT NULL,
  position tinyint unsigned NOT NULL DEFAULT '0',
  PRIMARY KEY (id),
  UNIQUE KEY title (title)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb3 COLLATE=utf8mb3_general_ci;

CREATE TABLE customers (
  id bigint unsigned NOT NULL AUTO_INCREMENT,
  email varchar(190) NOT NULL,
  name varchar(100) CHARACTER SET latin1 COLLATE latin1_german1_ci NOT NULL
    COMMENT 'from the first version, never converted',
  status enum('new','active','blocked','gone') NOT NULL DEFAULT 'new',
  interests set('books','games','garden','music','tools') NOT NULL DEFAULT '',
  newsletter tinyint(1) NOT NULL DEFAULT '0',
  preferences json DEFAULT NULL,
  birthday date DEFAULT NULL,
  credit decimal(10,2) NOT NULL DEFAULT '0.00',
  registered_at datetime NOT NULL,
  last_login timestamp NULL DEFAULT NULL,
  PRIMARY KEY (id),
  UNIQUE KEY email (email),
  KEY by_name (name(12))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;

CREATE TABLE addresses (
  id int unsigned NOT NULL AUTO_INCREMENT,
  customer_id bigint unsigned NOT NULL,
  kind enum('billing','shipping','other') NOT NULL DEFAULT 'billing',
  street varchar(120) NOT NULL,
  zip varchar(10) NOT NULL,
  city varchar(60) NOT NULL,
  country char(2) NOT NULL,
  PRIMARY KEY (id),
  KEY customer (customer_id, kind),
  KEY country (country),
  CONSTRAINT addresses_customer FOREIGN KEY (customer_id) REFERENCES customers (id)
    ON DELETE CASCADE,
  CONSTRAINT addresses_country FOREIGN KEY (country) REFERENCES countries (code)
) ENGINE=InnoDB DEFAULT CHARSET=latin1 COLLATE=latin1_swedish_ci;

CREATE TABLE products (
  sku varchar(24) NOT NULL,
  category_id smallint unsigned DEFAULT NULL,
  title varchar(120) NOT NULL,
  description text NOT NULL,
  attributes json DEFAULT NULL,
  price decimal(10,2) NOT NULL,
  gross decimal(12,2) GENERATED ALWAYS AS (price * 1.19) STORED,
  weight float DEFAULT NULL COMMENT 'kg',
  rating double DEFAULT NULL,
  marks bit(6) NOT NULL DEFAULT b'0' COMMENT 'what the old back office ticks',
  discontinued tinyint(1) NOT NULL DEFAULT '0',
  model_year year DEFAULT NULL,
  released date NOT NULL DEFAULT '0000-00-00',
  views bigint unsigned NOT NULL DEFAULT '0',
  PRIMARY KEY (sku),
  KEY category (category_id),
  KEY description (description(40)),
  FULLTEXT KEY words (title, description),
  CONSTRAINT products_category FOREIGN KEY (category_id) REFERENCES categories (id)
    ON DELETE SET NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

CREATE TABLE stock (
  warehouse char(3) NOT NULL,
  sku varchar(24) NOT NULL,
  on_hand int NOT NULL DEFAULT '0' COMMENT 'below zero: sold before it arrived',
  reserved mediumint unsigned NOT NULL DEFAULT '0',
  shelf int(6) unsigned zerofill NOT NULL,
  counted_on date DEFAULT NULL,
  PRIMARY KEY (warehouse, sku),
  KEY shelf (warehouse, shelf)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

CREATE TABLE coupons (
  code varchar(20) NOT NULL,
  percent decimal(5,2) NOT NULL,
  uses int unsigned NOT NULL DEFAULT '0',
  valid_from date NOT NULL,
  valid_until date DEFAULT NULL,
  note tinytext,
  PRIMARY KEY (code)
) ENGINE=InnoDB DEFAULT CHARSET=latin1 COLLATE=latin1_swedish_ci;

CREATE TABLE orders (
  id bigint unsigned NOT NULL AUTO_INCREMENT,
  customer_id bigint unsigned DEFAULT NULL COMMENT 'the application looks after it',
  state enum('cart','placed','paid','sent','returned') NOT NULL DEFAULT 'cart',
  is_gift tinyint(1) NOT NULL DEFAULT '0',
  coupon varchar(20) DEFAULT NULL,
  total decimal(12,2) NOT NULL DEFAULT '0.00',
  note varchar(255) DEFAULT NULL,
  placed_at datetime(3) NOT NULL,
  paid_at datetime NOT NULL DEFAULT '0000-00-00 00:00:00' COMMENT 'zero: not yet',
  updated_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
  PRIMARY KEY (id),
  KEY customer (customer_id),
  KEY state (state, placed_at)
) ENGINE=InnoDB DEFAULT CHARSET=latin1 COLLATE=latin1_swedish_ci;

CREATE TABLE order_items (
  order_id bigint unsigned NOT NULL,
  line smallint unsigned NOT NULL,
  sku varchar(24) NOT NULL,
  quantity smallint NOT NULL DEFAULT '1',
  price decimal(10,2) NOT NULL,
  discount decimal(5,4) NOT NULL DEFAULT '0.0000',
  engraving varchar(40) DEFAULT NULL,
  PRIMARY KEY (order_id, line),
  KEY sku (sku),
  CONSTRAINT order_items_order FOREIGN KEY (order_id) REFERENCES orders (id) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

CREATE TABLE payments (
  id binary(16) NOT NULL COMMENT 'a UUID, made by the application',
  order_id bigint unsigned NOT NULL,
  method enum('card','invoice','transfer','wallet') NOT NULL,
  amount decimal(12,2) NOT NULL,
  receipt varbinary(32) DEFAULT NULL,
  made_at timestamp(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  PRIMARY KEY (id),
  KEY order_id (order_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

CREATE TABLE deliveries (
  id int unsigned NOT NULL AUTO_INCREMENT,
  order_id bigint unsigned NOT NULL,
  carrier enum('bike','post','truck') NOT NULL,
  took time DEFAULT NULL COMMENT 'hours on the way: more than a day, at times',
  late_by time(1) DEFAULT NULL COMMENT 'negative: early',
  delivered_at datetime DEFAULT NULL,
  PRIMARY KEY (id),
  KEY order_id (order_id)
) ENGINE=InnoDB DEFAULT CHARSET=latin1 COLLATE=latin1_swedish_ci;

CREATE TABLE reviews (
  customer_id bigint unsigned NOT NULL,
  sku varchar(24) NOT NULL,
  stars tinyint NOT NULL,
  title varchar(100) NOT NULL DEFAULT '',
  body mediumtext,
  seen bigint unsigned NOT NULL DEFAULT '0' COMMENT 'counted down once: beyond bigint',
  PRIMARY KEY (customer_id, sku),
  KEY sku (sku),
  CONSTRAINT reviews_customer FOREIGN KEY (customer_id) REFERENCES customers (id)
    ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;

CREATE TABLE sessions (
  token char(40) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
  customer_id bigint unsigned DEFAULT NULL,
  data mediumblob,
  expires int unsigned NOT NULL COMMENT 'Unix time',
  PRIMARY KEY (token),
  KEY expires (expires)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;

-- Without a key: the same line may stand in it twice.
CREATE TABLE audit_log (
  at datetime NOT NULL,
  who varchar(60) NOT NULL,
  what varchar(40) NOT NULL,
  detail text
) ENGINE=InnoDB DEFAULT CHARSET=latin1 COLLATE=latin1_swedish_ci;
