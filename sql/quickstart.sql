-- A tour of a pond on a year of hourly weather at New York's three airports.
--
--     cargo run -- -f sql/quickstart.sql            an in-memory pond, gone when the program ends
--     cargo run -- ./weather -f sql/quickstart.sql  the same in a directory, there to stay
--
-- Names in quotes are paths: '/stations/EWR/weather.series' is a file of the pond, and a table. './sql/…' is a file of
-- the host.

-- The host's CSV, with its types: numbers as numbers, and NA as NULL.
CREATE TABLE '/import/weather' AS
SELECT origin,
       time_hour::TIMESTAMP                AS time,
       nullif(temp, 'NA')::DOUBLE          AS temp_f,
       nullif(humid, 'NA')::DOUBLE         AS humid_pct,
       nullif(wind_speed, 'NA')::DOUBLE    AS wind_mph,
       precip::DOUBLE                      AS precip_in,
       nullif(pressure, 'NA')::DOUBLE      AS pressure_mb
FROM './sql/data/nycflights13/weather.csv';

-- One series a station, kept in the order of time.
CREATE TABLE '/stations/EWR/weather.series'
    (time TIMESTAMP NOT NULL, temp_f DOUBLE, humid_pct DOUBLE, wind_mph DOUBLE, precip_in DOUBLE, pressure_mb DOUBLE)
    ORDER BY time;
CREATE TABLE '/stations/JFK/weather.series'
    (time TIMESTAMP NOT NULL, temp_f DOUBLE, humid_pct DOUBLE, wind_mph DOUBLE, precip_in DOUBLE, pressure_mb DOUBLE)
    ORDER BY time;
CREATE TABLE '/stations/LGA/weather.series'
    (time TIMESTAMP NOT NULL, temp_f DOUBLE, humid_pct DOUBLE, wind_mph DOUBLE, precip_in DOUBLE, pressure_mb DOUBLE)
    ORDER BY time;

-- The first half of the year, all three stations in one transaction. Each INSERT appends a version.
BEGIN;
INSERT INTO '/stations/EWR/weather.series' SELECT * EXCEPT (origin) FROM '/import/weather' WHERE origin = 'EWR' AND time < '2013-07-01';
INSERT INTO '/stations/JFK/weather.series' SELECT * EXCEPT (origin) FROM '/import/weather' WHERE origin = 'JFK' AND time < '2013-07-01';
INSERT INTO '/stations/LGA/weather.series' SELECT * EXCEPT (origin) FROM '/import/weather' WHERE origin = 'LGA' AND time < '2013-07-01';
COMMIT;

CREATE TABLE '/airports' AS
SELECT faa, name, lat, lon FROM './sql/data/nycflights13/airports.csv';

-- What there is now.
SELECT path, kind, versions, rows FROM pond_ls('/**') WHERE kind <> 'directory';

-- One glob reads all stations; {station} becomes a column. (One reading at EWR, 1,048 mph, is the sensor's mistake.)
SELECT station, count(*) AS hours, round(avg(temp_f), 1) AS mean_f, max(wind_mph) FILTER (WHERE wind_mph < 200)::DECIMAL(5, 1) AS max_wind
FROM pond('/stations/{station}/weather.series')
GROUP BY station ORDER BY station;

-- A derived file, and one derived from it: views, planned anew each time they are read.
CREATE VIEW '/derived/daily' AS
SELECT station, date_trunc('day', time) AS day, avg(temp_f) AS mean_f, sum(precip_in) AS rain_in
FROM pond('/stations/{station}/weather.series')
GROUP BY 1, 2;

CREATE VIEW '/derived/monthly' AS
SELECT station, date_trunc('month', day) AS month, avg(mean_f) AS mean_f, sum(rain_in) AS rain_in,
       count(*) FILTER (WHERE rain_in > 0.1) AS wet_days
FROM '/derived/daily'
GROUP BY 1, 2;

-- Derived files join like any table.
SELECT a.name, to_char(m.month, '%b') AS month, round(m.mean_f, 1) AS mean_f, round(m.rain_in, 2) AS rain_in, m.wet_days
FROM '/derived/monthly' m JOIN '/airports' a ON a.faa = m.station
WHERE m.month = '2013-06-01'
ORDER BY a.name;

-- The second half of the year is appended: the derived files see it at once.
SELECT count(*) AS days_before FROM '/derived/daily';
INSERT INTO '/stations/EWR/weather.series' SELECT * EXCEPT (origin) FROM '/import/weather' WHERE origin = 'EWR' AND time >= '2013-07-01';
INSERT INTO '/stations/JFK/weather.series' SELECT * EXCEPT (origin) FROM '/import/weather' WHERE origin = 'JFK' AND time >= '2013-07-01';
INSERT INTO '/stations/LGA/weather.series' SELECT * EXCEPT (origin) FROM '/import/weather' WHERE origin = 'LGA' AND time >= '2013-07-01';
SELECT count(*) AS days_after FROM '/derived/daily';

-- Every version is still there, with its rows and its range of time.
SELECT version, mode, rows, min_time, max_time, txn FROM pond_versions('/stations/EWR/weather.series');
SELECT count(*) AS hours_at_version_1 FROM pond('/stations/EWR/weather.series', version => 1);
