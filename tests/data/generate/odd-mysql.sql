-- An index over an expression, and defaults that are expressions; only MySQL has the former.
CREATE TABLE addresses (
  id varchar(36) NOT NULL DEFAULT (uuid()) PRIMARY KEY,
  name varchar(20) DEFAULT NULL,
  `at` datetime NOT NULL DEFAULT (now() + interval 1 day),
  KEY lowered ((lower(name)))
);
