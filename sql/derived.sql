-- Derived files of common shapes, on a year of hourly weather at New York's three airports.
--
--     cargo run -- -f sql/derived.sql
--
-- Each is a family: one CREATE VIEW stands for a derived file for each airport, and for those that come later.

-- Two instruments at each airport, and a third at Newark alone. Their times are not the same.
CREATE TABLE '/import/weather' AS
SELECT origin, time_hour::TIMESTAMP AS time, nullif(temp, 'NA')::DOUBLE AS temp_f, nullif(humid, 'NA')::DOUBLE AS humid_pct,
       nullif(wind_speed, 'NA')::DOUBLE AS wind_mph, nullif(pressure, 'NA')::DOUBLE AS pressure_mb
FROM './sql/data/nycflights13/weather.csv';

CREATE TABLE '/locs/EWR/air.series'  ORDER BY time AS SELECT time, temp_f, humid_pct FROM '/import/weather' WHERE origin = 'EWR' AND time < '2013-07-01';
CREATE TABLE '/locs/JFK/air.series'  ORDER BY time AS SELECT time, temp_f, humid_pct FROM '/import/weather' WHERE origin = 'JFK' AND time < '2013-07-01';
CREATE TABLE '/locs/LGA/air.series'  ORDER BY time AS SELECT time, temp_f, humid_pct FROM '/import/weather' WHERE origin = 'LGA' AND time < '2013-07-01';
CREATE TABLE '/locs/EWR/wind.series' ORDER BY time AS SELECT time, wind_mph FROM '/import/weather' WHERE origin = 'EWR' AND time >= '2013-06-30';
CREATE TABLE '/locs/JFK/wind.series' ORDER BY time AS SELECT time, wind_mph FROM '/import/weather' WHERE origin = 'JFK' AND time >= '2013-06-30';
CREATE TABLE '/locs/LGA/wind.series' ORDER BY time AS SELECT time, wind_mph FROM '/import/weather' WHERE origin = 'LGA' AND time >= '2013-06-30';
CREATE TABLE '/locs/EWR/baro.series' ORDER BY time AS SELECT time, pressure_mb FROM '/import/weather' WHERE origin = 'EWR' AND time >= '2013-12-30';

-- 1. Combine: the rows of all instruments of a site one after the other, by name of the columns.
CREATE VIEW '/combined/{site}' COMMENT = 'all rows of all instruments' AS
SELECT * FROM pond('/locs/{site}/*.series');

-- 2. Join on time: each time that any instrument has, once, with the columns of each beside it.
CREATE VIEW '/joined/{site}' COMMENT = 'one row for each time' AS
SELECT * EXCEPT (site) FROM pond_join('/locs/{site}/*.series', 'time');

-- 3. Pivot: a column for each site, a row for each day.
CREATE VIEW '/pivoted/temp_f' COMMENT = 'a column for each airport' AS
SELECT date_trunc('day', time) AS day,
       avg(temp_f) FILTER (WHERE site = 'EWR') AS "EWR",
       avg(temp_f) FILTER (WHERE site = 'JFK') AS "JFK",
       avg(temp_f) FILTER (WHERE site = 'LGA') AS "LGA"
FROM pond('/locs/{site}/air.series')
GROUP BY 1;

-- 4. Reduce: a derived file for each site and each resolution. What {site} stands for comes from the glob, {res} from VALUES.
CREATE VIEW '/reduced/{site}/{res}' COMMENT = 'means by interval' AS
SELECT date_bin(res::INTERVAL, time) AS time, avg(temp_f) AS temp_f, avg(wind_mph) AS wind_mph, count(*) AS readings
FROM pond('/locs/{site}/*.series'), (VALUES ('1 day'), ('1 week'), ('1 month')) AS r (res)
GROUP BY 1;

-- Each is listed like any file, and read like any table.
SELECT path, kind FROM pond_ls('/{combined,joined,pivoted,reduced}/**') WHERE kind = 'view';
SELECT count(*) AS rows, count(temp_f) AS air, count(wind_mph) AS wind, count(pressure_mb) AS baro FROM '/combined/EWR';
SELECT count(*) AS rows, count(DISTINCT time) AS times, count("air.temp_f") AS air, count("wind.wind_mph") AS wind,
       count("baro.pressure_mb") AS baro
FROM '/joined/EWR';
SELECT day, round("EWR", 1) AS ewr, round("JFK", 1) AS jfk, round("LGA", 1) AS lga FROM '/pivoted/temp_f' WHERE day >= '2013-06-28' ORDER BY day;
SELECT time::DATE AS month, round(temp_f, 1) AS temp_f, round(wind_mph, 1) AS wind_mph, readings FROM '/reduced/JFK/1 month' WHERE time < '2013-09-01' ORDER BY time LIMIT 4;

-- All of a family at once: one plan, in which a capture is a column. A filter on it reads the files of that site alone.
SELECT airport, count(*) AS rows, max("air.temp_f") AS hottest FROM pond('/joined/{airport}') GROUP BY airport ORDER BY airport;
SELECT airport, resolution, count(*) AS rows FROM pond('/reduced/{airport}/{resolution}') WHERE resolution <> '1 day' GROUP BY 1, 2 ORDER BY 1, 2;

-- A new site has its derived files at once.
CREATE TABLE '/locs/HPN/air.series' ORDER BY time AS SELECT TIMESTAMP '2013-01-01 00:00:00' AS time, 30.0 AS temp_f, 50.0 AS humid_pct;
SELECT path FROM pond_ls('/{combined,joined,reduced}/HPN/**');
SELECT path FROM pond_ls('/{combined,joined}/H*');
SELECT * FROM '/joined/HPN';
SHOW CREATE TABLE '/reduced/{site}/{res}';
