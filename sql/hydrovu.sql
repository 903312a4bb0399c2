-- The water of Noyo harbour: readings from the HydroVu service, joined by site, and reduced to hours and days.
--
--     export HYDROVU_SECRET=…
--     cargo run -- ./noyo -f sql/hydrovu.sql
--
-- Run it again, and it fetches what is new. It names the service and a client of it; for others, make '/hydrovu' first, and the script
-- takes it as it is. The tests do so, with a service of their own:
--
--     cargo run -- ./noyo -c "CREATE EXTERNAL TABLE '/hydrovu' STORED AS HYDROVU LOCATION 'http://127.0.0.1:8080'
--                             OPTIONS ('client_id' 'noyo', 'client_secret' 'env:HYDROVU_SECRET', 'allow_private' 'true')" -f sql/hydrovu.sql

-- 1. The factory: a directory that fetches. The pond keeps where the secret is, not the secret.
CREATE EXTERNAL TABLE IF NOT EXISTS '/hydrovu' STORED AS HYDROVU
LOCATION 'https://www.hydrovu.com'
OPTIONS ('client_id' 'noyo', 'client_secret' 'env:HYDROVU_SECRET', 'devices' 'all', 'start' '2024-01-01T00:00:00Z');

-- 2. A run. Each device is a transaction of its own: one that fails says so in its row, and goes on the next time.
CALL pond_run('/hydrovu');

-- What is there now. From here on nobody asks the service.
SELECT path, kind, versions, rows FROM pond_ls('/hydrovu/**') WHERE kind <> 'directory';
SELECT name, latitude, longitude FROM '/hydrovu/locations' ORDER BY name;

-- 3. A site has a Vulink, which calls home, and an AT500, which is in the water. Silver's first Vulink died; the second goes on.
CREATE OR REPLACE VIEW '/instruments/{site}/Vulink' COMMENT = 'all Vulinks of a site, one after the other' AS
SELECT * EXCEPT (site) FROM pond('/hydrovu/devices/*/{site}Vulink*.series');

CREATE OR REPLACE VIEW '/instruments/{site}/AT500' AS
SELECT * EXCEPT (site) FROM pond('/hydrovu/devices/*/{site}AT500*.series');

-- 4. The instruments of a site side by side: each time that any of them has, once.
CREATE OR REPLACE VIEW '/test-locations/{site}' COMMENT = 'one row for each time' AS
SELECT * EXCEPT (site) FROM pond_join('/instruments/{site}/*', 'timestamp');

-- 5. Reductions, a derived file for each site and each resolution.
CREATE OR REPLACE VIEW '/reduced/{site}/{resolution}' COMMENT = 'means by interval' AS
SELECT date_bin(resolution::INTERVAL, timestamp) AS timestamp,
       avg("AT500.Temperature.C") AS water_c, avg("Vulink.Temperature.C") AS box_c, avg("AT500.DO.mg/L") AS oxygen_mg_l,
       count(*) AS readings
FROM pond('/test-locations/{site}'), (VALUES ('1 hour'), ('1 day')) AS r (resolution)
GROUP BY 1;

SELECT path FROM pond_ls('/{test-locations,reduced}/**') WHERE kind = 'view';

SELECT site, count(*) AS times, count("Vulink.Temperature.C") AS vulink, count("AT500.Temperature.C") AS at500,
       min(timestamp) AS first, max(timestamp) AS last
FROM pond('/test-locations/{site}') GROUP BY site ORDER BY site;

SELECT site, resolution, count(*) AS rows, sum(readings) AS readings, round(avg(oxygen_mg_l), 1) AS oxygen_mg_l
FROM pond('/reduced/{site}/{resolution}') GROUP BY site, resolution ORDER BY site, resolution;

SELECT timestamp::DATE AS day, round(water_c, 1) AS water_c, round(box_c, 1) AS box_c, readings
FROM '/reduced/BDock/1 day' ORDER BY timestamp LIMIT 3;

-- 6. The check.
SELECT count(*) AS rows FROM '/test-locations/BDock';
