-- The history's tables, version 1 (PRAGMA user_version); docs/history.md explains them.
-- Times are nanoseconds of CLOCK_BOOTTIME unless their column says wall; wall = boottime + clock.offset.

-- One run of a recorder.
CREATE TABLE session(
	id INTEGER PRIMARY KEY,
	boot TEXT NOT NULL,		-- /proc/sys/kernel/random/boot_id
	started INTEGER NOT NULL,
	ready INTEGER,			-- from here on nothing is missed; NULL: never came so far
	last INTEGER NOT NULL,		-- last sign of life
	stopped INTEGER,		-- it ended in order; NULL: it runs, or was killed
	forgotten INTEGER NOT NULL,	-- retention dropped lifetimes that lasted up to here; 0: none
	pid INTEGER, host TEXT, kernel TEXT, version TEXT,
	filter TEXT			-- what it leaves out; NULL: nothing
);

-- Wall time less boottime, from `at` on: a row when the clock was set.
CREATE TABLE clock(session INTEGER, at INTEGER, offset INTEGER NOT NULL, PRIMARY KEY(session, at)) WITHOUT ROWID;

CREATE TABLE gap(
	id INTEGER PRIMARY KEY,
	session INTEGER NOT NULL,
	since INTEGER NOT NULL, until INTEGER NOT NULL,
	lost INTEGER NOT NULL, lost_allocations INTEGER NOT NULL,
	reason TEXT
);

-- What rows refer to by number. Told again now and then, so that the old can go.
CREATE TABLE text(id INTEGER PRIMARY KEY, text TEXT);
CREATE TABLE endpoint(id INTEGER PRIMARY KEY, netns INTEGER, proto INTEGER, addr TEXT);
CREATE TABLE process(
	id INTEGER PRIMARY KEY,
	pid INTEGER, start INTEGER, exec_id INTEGER, uid INTEGER, comm TEXT,	-- start NULL: not known
	exe INTEGER, cgroup INTEGER, container INTEGER, cmdline INTEGER		-- of text
);

-- Lifetimes stand in chunks, each by port, so that one look finds those of a port.
CREATE TABLE chunk(
	id INTEGER PRIMARY KEY,
	session INTEGER NOT NULL,
	origin INTEGER NOT NULL,	-- what its rows' `ended` counts from
	since INTEGER NOT NULL, until INTEGER NOT NULL,		-- of the first and the last of its rows
	lifetimes INTEGER NOT NULL, denials INTEGER NOT NULL,
	text INTEGER, endpoint INTEGER, process INTEGER		-- its rows refer to these and later ones
);
CREATE TABLE lifetime(
	id INTEGER PRIMARY KEY,		-- chunk << 34 | port << 18 | number
	ended INTEGER,			-- released, since chunk.origin
	held INTEGER,			-- how long before that it was allocated,
	closed INTEGER,			-- its last descriptor was closed (NULL: it was not),
	waited INTEGER,			-- its TIME_WAIT began (NULL: none)
	cookie INTEGER,
	process INTEGER,		-- NULL: unknown owner
	endpoint INTEGER,
	remote INTEGER,			-- IPv4: address << 16 | port; IPv6: 18 bytes; NULL: none
	bits INTEGER,			-- how, flags, cause, errno, generation: see the view
	holder INTEGER			-- process that closed it, where that is not the owner
);
-- The newest chunk as it comes in, where that is slow.
CREATE TABLE tail(
	id INTEGER PRIMARY KEY, ended, held, closed, waited, cookie, process, endpoint, remote, bits, holder,
	port INTEGER
);
-- Lifetimes that last. What was held when a recorder died stays until the next one has looked.
CREATE TABLE held(
	port INTEGER, cookie INTEGER, generation INTEGER,
	session INTEGER NOT NULL,
	sync INTEGER NOT NULL,		-- the look that last found it
	since INTEGER NOT NULL, closed_at INTEGER, waited_at INTEGER,
	process INTEGER, endpoint INTEGER, remote INTEGER, bits INTEGER, holder INTEGER,
	PRIMARY KEY(port, cookie, generation)
) WITHOUT ROWID;

-- Calls that were denied a port; the same one again within a second counts up.
CREATE TABLE denial(
	id INTEGER PRIMARY KEY,		-- chunk << 34 | number
	at INTEGER NOT NULL, until INTEGER NOT NULL, count INTEGER NOT NULL,
	process INTEGER, endpoint INTEGER, port INTEGER, remote INTEGER,	-- as asked for
	call INTEGER, errno INTEGER, cause INTEGER, traits INTEGER,
	detail INTEGER			-- of text: who held it, and what would help, in JSON
);

CREATE VIEW lifetimes AS
WITH row AS (
	SELECT l.*, id >> 34 AS chunk, (id >> 18) & 65535 AS port, 0 AS lasts FROM lifetime l
	UNION ALL
	SELECT id, ended, held, closed, waited, cookie, process, endpoint, remote, bits, holder, id >> 34, port, 0 FROM tail
),
spanned AS (
	SELECT port, cookie, c.session AS session, origin + ended - held AS since, origin + ended AS until,
	       origin + ended - r.closed AS closed_at, origin + ended - waited AS waited_at,
	       r.process AS process, r.endpoint AS endpoint, remote, bits, holder, lasts
	FROM row r JOIN chunk c ON c.id = r.chunk
	UNION ALL
	SELECT port, cookie, session, since, max(since, s.last), closed_at, waited_at,
	       process, endpoint, remote, bits, holder, 1
	FROM held JOIN session s ON s.id = session
),
clocked AS (
	SELECT *, coalesce(
		(SELECT offset FROM clock WHERE clock.session = spanned.session AND at <= since ORDER BY at DESC LIMIT 1),
		(SELECT offset FROM clock WHERE clock.session = spanned.session ORDER BY at LIMIT 1)) AS since_offset, coalesce(
		(SELECT offset FROM clock WHERE clock.session = spanned.session AND at <= until ORDER BY at DESC LIMIT 1),
		(SELECT offset FROM clock WHERE clock.session = spanned.session ORDER BY at LIMIT 1)) AS until_offset
	FROM spanned
)
SELECT port,
	CASE proto WHEN 6 THEN 'tcp' WHEN 17 THEN 'udp' WHEN 136 THEN 'udplite' END AS proto,
	strftime('%Y-%m-%dT%H:%M:%S', (since + since_offset) / 1000000000, 'unixepoch') ||
		printf('.%09dZ', (since + since_offset) % 1000000000) AS since,
	strftime('%Y-%m-%dT%H:%M:%S', (until + until_offset) / 1000000000, 'unixepoch') ||
		printf('.%09dZ', (until + until_offset) % 1000000000) AS until,
	until - since AS held_ns, closed_at - since AS open_ns, until - waited_at AS time_wait_ns, lasts,
	p.pid, p.comm, p.uid, exe.text AS exe, cgroup.text AS cgroup, container.text AS container, cmdline.text AS cmdline,
	h.pid AS holder_pid, h.comm AS holder_comm,
	netns, addr,
	CASE typeof(remote)
	WHEN 'integer' THEN printf('%d.%d.%d.%d', remote >> 40 & 255, remote >> 32 & 255, remote >> 24 & 255, remote >> 16 & 255)
	WHEN 'blob' THEN lower(printf('%s:%s:%s:%s:%s:%s:%s:%s', substr(hex(remote), 1, 4), substr(hex(remote), 5, 4),
		substr(hex(remote), 9, 4), substr(hex(remote), 13, 4), substr(hex(remote), 17, 4),
		substr(hex(remote), 21, 4), substr(hex(remote), 25, 4), substr(hex(remote), 29, 4)))
	END AS remote_addr,
	CASE typeof(remote)
	WHEN 'integer' THEN remote & 65535
	WHEN 'blob' THEN (instr('123456789ABCDEF', substr(hex(remote), 33, 1)) << 12) +
		(instr('123456789ABCDEF', substr(hex(remote), 34, 1)) << 8) +
		(instr('123456789ABCDEF', substr(hex(remote), 35, 1)) << 4) + instr('123456789ABCDEF', substr(hex(remote), 36, 1))
	END AS remote_port,
	CASE bits & 7 WHEN 1 THEN 'bind' WHEN 2 THEN 'connect' WHEN 3 THEN 'send' WHEN 4 THEN 'listen' END AS how,
	CASE WHEN bits & 16 THEN NULL ELSE bits >> 3 & 1 END AS ephemeral,
	bits >> 5 & 1 AS kernel, bits >> 6 & 1 AS listened, bits >> 7 & 1 AS exact,
	bits >> 8 & 1 AS began_before, bits >> 9 & 1 AS end_unknown,
	CASE bits >> 10 & 7 WHEN 1 THEN 'close' WHEN 2 THEN 'reset' WHEN 3 THEN 'time_wait' WHEN 4 THEN 'reuse'
	WHEN 5 THEN 'disconnect' WHEN 6 THEN 'netns' WHEN 7 THEN 'unknown' END AS cause,
	bits >> 13 & 511 AS errno, cookie, (bits >> 22) + 1 AS generation, session,
	since + since_offset AS since_ns, until + until_offset AS until_ns
FROM clocked
	LEFT JOIN endpoint e ON e.id = endpoint
	LEFT JOIN process p ON p.id = process
	LEFT JOIN process h ON h.id = holder
	LEFT JOIN text exe ON exe.id = p.exe
	LEFT JOIN text cgroup ON cgroup.id = p.cgroup
	LEFT JOIN text container ON container.id = p.container
	LEFT JOIN text cmdline ON cmdline.id = p.cmdline;

CREATE VIEW denials AS
SELECT strftime('%Y-%m-%dT%H:%M:%S', (at + offset) / 1000000000, 'unixepoch') ||
		printf('.%09dZ', (at + offset) % 1000000000) AS time, count, until - at AS span_ns,
	CASE call WHEN 1 THEN 'bind' WHEN 2 THEN 'connect' WHEN 3 THEN 'send' WHEN 4 THEN 'listen' END AS call,
	errno,
	CASE cause WHEN 0 THEN 'conflict' WHEN 1 THEN 'exhausted' WHEN 2 THEN 'not_local' WHEN 3 THEN 'permission'
	WHEN 4 THEN 'other' END AS cause,
	CASE proto WHEN 6 THEN 'tcp' WHEN 17 THEN 'udp' WHEN 136 THEN 'udplite' END AS proto,
	addr, port, netns, p.pid, p.comm, p.uid, t.text AS detail, session, at + offset AS time_ns
FROM (SELECT d.*, c.session AS session, coalesce(
		(SELECT offset FROM clock WHERE clock.session = c.session AND clock.at <= d.at ORDER BY clock.at DESC LIMIT 1),
		(SELECT offset FROM clock WHERE clock.session = c.session ORDER BY clock.at LIMIT 1)) AS offset
	FROM denial d JOIN chunk c ON c.id = d.id >> 34)
	LEFT JOIN endpoint e ON e.id = endpoint
	LEFT JOIN process p ON p.id = process
	LEFT JOIN text t ON t.id = detail;

CREATE VIEW sessions AS
SELECT id, boot, host, kernel, version, pid, filter, stopped IS NOT NULL AS ended_in_order,
	datetime((started + a) / 1000000000, 'unixepoch') AS started,
	datetime((ready + a) / 1000000000, 'unixepoch') AS ready,
	datetime((last + z) / 1000000000, 'unixepoch') AS last,
	started + a AS started_ns, ready + a AS ready_ns, last + z AS last_ns
FROM (SELECT *, (SELECT offset FROM clock WHERE session = id ORDER BY at LIMIT 1) AS a,
	(SELECT offset FROM clock WHERE session = id ORDER BY at DESC LIMIT 1) AS z FROM session);

-- Lost records, and the times between two recorders.
CREATE VIEW gaps AS
SELECT datetime(since / 1000000000, 'unixepoch') AS since, datetime(until / 1000000000, 'unixepoch') AS until,
	lost, lost_allocations, reason, since AS since_ns, until AS until_ns
FROM (
	SELECT g.since + coalesce((SELECT offset FROM clock c WHERE c.session = g.session AND at <= g.since
			ORDER BY at DESC LIMIT 1), offset) AS since,
		g.until + coalesce((SELECT offset FROM clock c WHERE c.session = g.session AND at <= g.until
			ORDER BY at DESC LIMIT 1), offset) AS until,
		lost, lost_allocations, reason
	FROM gap g JOIN clock first ON first.session = g.session
		AND first.at = (SELECT min(at) FROM clock WHERE session = g.session)
	UNION ALL
	SELECT lag(last_ns) OVER (ORDER BY id), ready_ns, NULL, NULL, 'the recorder did not run'
	FROM sessions WHERE ready_ns IS NOT NULL
)
WHERE since IS NOT NULL ORDER BY since_ns;
