-- Names, keys and types that models are hard to make of. Read by tests/endtoend/generated.py.
CREATE TABLE `order-line` (
  `order` int unsigned NOT NULL,
  `line` smallint unsigned NOT NULL,
  `class` varchar(20) NOT NULL DEFAULT 'it''s 50% :a "b" \\ c',
  `2fa` tinyint(1) NOT NULL DEFAULT 0,
  `metadata` text,
  `registry` bigint unsigned DEFAULT NULL,
  `_hidden` int DEFAULT NULL COMMENT 'said "so" \\ it''s',
  `hidden` int DEFAULT NULL,
  `größe` decimal(10,3) unsigned DEFAULT NULL,
  `int` mediumint DEFAULT NULL,
  `json` char(3) DEFAULT NULL,
  `model_config` tinyint DEFAULT NULL,
  `dt` date DEFAULT NULL,
  `a b` int DEFAULT NULL,
  `a.b` int DEFAULT NULL,
  `a_b` int DEFAULT NULL,
  `OrderLine` int DEFAULT NULL,
  `schema` enum('', 'new', 'in stock', '5', '+', '-', 'größe', 'it''s') NOT NULL DEFAULT 'new',
  PRIMARY KEY (`order`, `line`),
  UNIQUE KEY `class` (`class`, `2fa`),
  KEY `down` (`hidden` DESC, `int`),
  KEY `prefix` (`metadata`(10)),
  FULLTEXT KEY `words` (`metadata`)
) COMMENT='Lines; the "first" table';

CREATE TABLE `order_line` (
  `id` int NOT NULL AUTO_INCREMENT PRIMARY KEY,
  `order` int unsigned DEFAULT NULL,
  `line` smallint unsigned DEFAULT NULL,
  `twin_id` int DEFAULT NULL,
  `parent_id` int DEFAULT NULL,
  `none` enum('yes','no') DEFAULT NULL,
  UNIQUE KEY `twin` (`twin_id`),
  CONSTRAINT `ol_line` FOREIGN KEY (`order`, `line`) REFERENCES `order-line` (`order`, `line`)
    ON DELETE SET NULL ON UPDATE CASCADE,
  CONSTRAINT `ol_twin` FOREIGN KEY (`twin_id`) REFERENCES `order_line` (`id`),
  CONSTRAINT `ol_parent` FOREIGN KEY (`parent_id`) REFERENCES `order_line` (`id`) ON DELETE CASCADE
) COMMENT='Short.';

CREATE TABLE `none` (
  `id` bigint NOT NULL PRIMARY KEY,
  `Base` int DEFAULT NULL,
  `relationship` int DEFAULT NULL,
  `type` int DEFAULT NULL,
  KEY `base` (`Base`),
  CONSTRAINT `none_base` FOREIGN KEY (`Base`) REFERENCES `order_line` (`id`)
);

CREATE TABLE tenants (id int NOT NULL PRIMARY KEY, owner_id int DEFAULT NULL);
CREATE TABLE people (
  tenant_id int NOT NULL, id int NOT NULL, boss int DEFAULT NULL,
  PRIMARY KEY (tenant_id, id),
  CONSTRAINT people_tenant FOREIGN KEY (tenant_id) REFERENCES tenants (id),
  CONSTRAINT people_boss FOREIGN KEY (tenant_id, boss) REFERENCES people (tenant_id, id)
);
ALTER TABLE tenants ADD CONSTRAINT tenants_owner FOREIGN KEY (id, owner_id)
  REFERENCES people (tenant_id, id);
CREATE TABLE tickets (
  id int NOT NULL AUTO_INCREMENT PRIMARY KEY, tenant_id int NOT NULL, person int NOT NULL,
  helper int DEFAULT NULL,
  CONSTRAINT tickets_tenant FOREIGN KEY (tenant_id) REFERENCES tenants (id),
  CONSTRAINT tickets_person FOREIGN KEY (tenant_id, person) REFERENCES people (tenant_id, id),
  CONSTRAINT tickets_helper FOREIGN KEY (tenant_id, helper) REFERENCES people (tenant_id, id)
);

CREATE TABLE log (at datetime(3) NOT NULL, `class` varchar(9), n int, note text, KEY at (at));
CREATE TABLE codes (code varchar(10) NOT NULL, n int NOT NULL, UNIQUE KEY code (code));
CREATE TABLE a_table_whose_name_is_as_long_as_the_server_takes_it_to_be_1234 (
  id int NOT NULL AUTO_INCREMENT PRIMARY KEY,
  a_column_whose_name_is_as_long_as_the_server_takes_it_to_be_1234 datetime(6) DEFAULT NULL,
  another_column_whose_name_is_as_long_as_the_server_takes_it_to_b enum('x') DEFAULT NULL,
  a_third_column_whose_name_is_as_long_as_the_server_takes_it_to_b int DEFAULT NULL,
  CONSTRAINT a_key_whose_name_is_as_long_as_the_server_takes_it_to_be_12345
    FOREIGN KEY (a_third_column_whose_name_is_as_long_as_the_server_takes_it_to_b)
    REFERENCES a_table_whose_name_is_as_long_as_the_server_takes_it_to_be_1234 (id)
);

CREATE TABLE kinds (
  id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY,
  tiny tinyint NOT NULL DEFAULT -3,
  utiny tinyint unsigned NOT NULL DEFAULT 3,
  usmall smallint unsigned NOT NULL,
  umedium mediumint unsigned NOT NULL,
  filled int(6) unsigned zerofill NOT NULL,
  ubig bigint unsigned NOT NULL,
  born year NOT NULL DEFAULT 2000,
  price decimal(12,2) NOT NULL DEFAULT 1.50,
  huge decimal(65,30) NOT NULL,
  single float NOT NULL,
  twice double unsigned NOT NULL,
  flag bit(1) NOT NULL DEFAULT b'1',
  bits bit(12) NOT NULL,
  day date NOT NULL DEFAULT '2020-02-29',
  never date NOT NULL DEFAULT '2001-01-01',
  local datetime(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6),
  instant timestamp(3) NULL DEFAULT NULL,
  length time(3) NOT NULL DEFAULT '12:30:00',
  clock time NOT NULL,
  fixed char(5) NOT NULL,
  latin varchar(40) CHARACTER SET latin1 COLLATE latin1_bin NOT NULL DEFAULT 'x',
  words mediumtext,
  fixed_bytes binary(4) NOT NULL,
  some_bytes varbinary(40) NOT NULL DEFAULT 'abc',
  uuid binary(16) NOT NULL,
  image longblob,
  colours set('red','green','dark blue') NOT NULL DEFAULT 'red,green',
  doc json,
  must json NOT NULL,
  doubled int GENERATED ALWAYS AS (tiny * 2) VIRTUAL,
  named varchar(60) GENERATED ALWAYS AS (concat(latin, ':x')) STORED,
  gone point DEFAULT NULL,
  KEY named (named)
) DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
