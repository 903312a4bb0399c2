CREATE EXTERNAL TABLE '/weather' STORED AS STATIONS OPTIONS ('names' 'pier,quay');
SELECT name, option, required, meaning FROM pond_factories() WHERE name = 'stations';
SELECT station, max(hour) AS hour FROM pond('/weather/*') GROUP BY station ORDER BY station;
CALL pond_run('/weather');
CALL pond_run('/weather');
SELECT path, kind, rows FROM pond_ls('/weather/**');
SELECT station, count(*) AS readings, max(hour) AS last FROM pond('/weather/kept/*') GROUP BY station ORDER BY station;
