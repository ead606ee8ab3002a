# reads: shop.db
# writes: summary.db
import sqlite3

with sqlite3.connect("shop.db") as shop, sqlite3.connect("summary.db") as summary:
    total = shop.execute("select sum(amount) from sales").fetchone()
    summary.execute("create table total (amount)")
    summary.execute("insert into total values (?)", total)
