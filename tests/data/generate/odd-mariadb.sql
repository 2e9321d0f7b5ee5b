-- Types that only MariaDB has.
CREATE TABLE addresses (
  id uuid NOT NULL PRIMARY KEY,
  four inet4 NOT NULL,
  six inet6 DEFAULT NULL
);
