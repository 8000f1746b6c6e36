/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The table of known ports. Rows stand in two arrays: wide ones, few, and narrow ones sorted by their first port,
 * of which only those that begin less than ANNOTATE_FLAG_SPAN below a port can cover it.
 */
#include "user/annotate.h"

#include <ctype.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/stat.h>

#include "user/mem.h"
#include "user/num.h"

#define FILE_MAX	(16 << 20)
#define COLUMNS		6

/* data/ports.tsv, terminated: a part of the program, so that it is found wherever that runs. */
extern const char shipped[];

__asm__(".pushsection .rodata\n"
	".globl shipped\n"
	".hidden shipped\n"
	"shipped: .incbin \"data/ports.tsv\"\n"
	".byte 0\n"
	".popsection\n");

struct rows {
	struct annotate_row *row;
	size_t count, size;
};

struct text {
	struct text *next;
	char data[];
};

struct annotate_table {
	struct rows narrow, wide;
	struct text *texts;	/* what names and sources point into */
	uint16_t layers;
};

static const char *const confidence_names[] = {
	[ANNOTATE_REGISTERED]	= "registered",
	[ANNOTATE_DOCUMENTED]	= "documented",
	[ANNOTATE_LEGACY]	= "legacy",
	[ANNOTATE_REPORTED]	= "reported",
	[ANNOTATE_NONE]		= "none",
};

static const struct {
	const char *name;
	uint8_t number;
} protos[] = {
	{ "tcp", IPPROTO_TCP }, { "udp", IPPROTO_UDP }, { "udplite", IPPROTO_UDPLITE }, { "sctp", IPPROTO_SCTP },
};

const char *annotate_confidence_name(enum annotate_confidence confidence)
{
	return confidence < ARRAY_SIZE(confidence_names) ? confidence_names[confidence] : "unknown";
}

static unsigned int span(const struct annotate_row *row)
{
	return (unsigned int)(row->last - row->first) + 1;
}

static bool covers(const struct annotate_row *row, uint8_t proto, uint16_t port)
{
	return row->proto == proto && row->first <= port && port <= row->last;
}

/* Negative when a wins over b. */
static int compare_rank(const struct annotate_row *a, const struct annotate_row *b)
{
	if (a->layer != b->layer)
		return a->layer > b->layer ? -1 : 1;
	if (span(a) != span(b))
		return span(a) < span(b) ? -1 : 1;
	if (a->confidence != b->confidence)
		return a->confidence < b->confidence ? -1 : 1;
	return a->line < b->line ? -1 : a->line > b->line;
}

static int compare_first(const void *left, const void *right)
{
	const struct annotate_row *a = left, *b = right;

	return a->first != b->first ? (a->first < b->first ? -1 : 1) : compare_rank(a, b);
}

static int complain(struct annotate_error *error, const char *file, uint32_t line, int r, const char *reason)
{
	if (line)
		snprintf(error->text, sizeof(error->text), "%s:%u: %s", file, line, reason);
	else
		snprintf(error->text, sizeof(error->text), "%s: %s", file, reason);
	return r;
}

/* What makes one line a row. Each returns NULL or the reason why not. */

static const char *parse_ports(char **columns, struct annotate_row *row)
{
	uint64_t first, last;

	if (num_u64(columns[0], 1, NUM_PORTS - 1, &first) < 0)
		return "the first port is not a number from 1 to 65535";
	if (num_u64(columns[1], 1, NUM_PORTS - 1, &last) < 0)
		return "the last port is not a number from 1 to 65535";
	if (last < first)
		return "the last port is below the first";
	row->first = (uint16_t)first;
	row->last = (uint16_t)last;
	return NULL;
}

static const char *parse_proto(const char *text, struct annotate_row *row)
{
	for (size_t i = 0; i < ARRAY_SIZE(protos); i++) {
		if (strcmp(text, protos[i].name) == 0) {
			row->proto = protos[i].number;
			return NULL;
		}
	}
	return "the protocol is not tcp, udp, udplite or sctp";
}

static const char *parse_confidence(const char *text, struct annotate_row *row)
{
	for (size_t i = 0; i < ARRAY_SIZE(confidence_names); i++) {
		if (strcmp(text, confidence_names[i]) == 0) {
			row->confidence = (uint8_t)i;
			return NULL;
		}
	}
	return "the confidence is not registered, documented, legacy, reported or none";
}

static const char *parse_row(char *line, struct annotate_row *row)
{
	char *columns[COLUMNS] = { NULL };
	const char *reason;
	size_t n = 0;

	for (const char *c = line; *c; c++) {
		if (iscntrl((unsigned char)*c) && *c != '\t')
			return "control character";
	}
	for (char *column; n < COLUMNS && (column = strsep(&line, "\t"));)
		columns[n++] = column;
	if (line || n < COLUMNS - 1)
		return "not six columns divided by tabs: first, last, proto, name, confidence, source";
	reason = parse_ports(columns, row);
	if (!reason)
		reason = parse_proto(columns[2], row);
	if (!reason)
		reason = parse_confidence(columns[4], row);
	if (!reason && !*columns[3] && row->confidence != ANNOTATE_NONE)
		reason = "the name is empty";
	row->name = columns[3];
	row->source = columns[5] ? columns[5] : "";
	return reason;
}

static int rows_add(struct rows *rows, const struct annotate_row *row)
{
	if (rows->count == rows->size) {
		size_t size = rows->size ? rows->size * 2 : 64;
		struct annotate_row *grown = pw_reallocarray(rows->row, size, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		rows->row = grown;
		rows->size = size;
	}
	rows->row[rows->count++] = *row;
	return 0;
}

static int parse_line(struct annotate_table *table, const char *file, char *line, struct annotate_row *row,
		      struct annotate_error *error)
{
	const char *reason;

	if (!*line || *line == '#')
		return 0;
	reason = parse_row(line, row);
	if (reason)
		return complain(error, file, row->line, -EINVAL, reason);
	if (rows_add(span(row) > ANNOTATE_FLAG_SPAN ? &table->wide : &table->narrow, row) < 0)
		return complain(error, file, 0, -ENOMEM, "out of memory");
	return 0;
}

static int parse_lines(struct annotate_table *table, const char *file, char *text, uint16_t layer,
		       struct annotate_error *error)
{
	struct annotate_row row = { .layer = layer };
	int r = 0;

	for (char *line; r == 0 && (line = strsep(&text, "\n"));) {
		row.line++;
		r = parse_line(table, file, line, &row, error);
	}
	return r;
}

static int load(struct annotate_table *table, const char *file, const char *text, size_t len, uint16_t layer,
		struct annotate_error *error)
{
	size_t narrow = table->narrow.count, wide = table->wide.count;
	struct text *copy;
	int r;

	if (memchr(text, '\0', len))
		return complain(error, file, 0, -EINVAL, "not a text file");
	copy = pw_calloc(1, sizeof(*copy) + len + 1);
	if (!copy)
		return complain(error, file, 0, -ENOMEM, "out of memory");
	memcpy(copy->data, text, len);
	r = parse_lines(table, file, copy->data, layer, error);
	if (r < 0) {
		table->narrow.count = narrow;
		table->wide.count = wide;
		pw_free(copy);
		return r;
	}
	copy->next = table->texts;
	table->texts = copy;
	if (table->narrow.count > 0)
		qsort(table->narrow.row, table->narrow.count, sizeof(*table->narrow.row), compare_first);
	return 0;
}

int annotate_load_text(struct annotate_table *table, const char *file, const char *text, size_t len,
		       struct annotate_error *error)
{
	int r;

	if (table->layers == UINT16_MAX)
		return complain(error, file, 0, -EFBIG, "too many files");
	r = load(table, file, text, len, (uint16_t)(table->layers + 1), error);
	if (r == 0)
		table->layers++;
	return r;
}

static int read_all(int fd, struct buf *out)
{
	char block[16384];
	ssize_t n;

	while ((n = read(fd, block, sizeof(block))) != 0) {
		int r = n < 0 ? -errno : buf_add(out, block, (size_t)n);

		if (r < 0 && r != -EINTR)
			return r;
	}
	return 0;
}

int annotate_load_file(struct annotate_table *table, const char *path, struct annotate_error *error)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	_cleanup_buf_ struct buf text = BUF_INIT(FILE_MAX);
	int r = fd < 0 ? -errno : read_all(fd, &text);

	if (r == -ENOBUFS)
		return complain(error, path, 0, -EFBIG, "larger than 16 MiB");
	if (r < 0)
		return complain(error, path, 0, r, strerror(-r));
	return annotate_load_text(table, path, buf_text(&text), text.len, error);
}

static int is_tsv(const struct dirent *entry)
{
	const char *dot = strrchr(entry->d_name, '.');

	return entry->d_name[0] != '.' && dot && strcmp(dot, ".tsv") == 0;
}

static int load_member(struct annotate_table *table, const char *dir, const char *name, struct annotate_error *error)
{
	_cleanup_free_ char *path = pw_calloc(1, strlen(dir) + strlen(name) + 2);

	if (!path)
		return complain(error, dir, 0, -ENOMEM, "out of memory");
	stpcpy(stpcpy(stpcpy(path, dir), "/"), name);
	return annotate_load_file(table, path, error);
}

int annotate_load_dir(struct annotate_table *table, const char *dir, struct annotate_error *error)
{
	struct dirent **entries = NULL;
	int n = scandir(dir, &entries, is_tsv, alphasort), r = 0;

	if (n < 0)
		return errno == ENOENT ? 0 : complain(error, dir, 0, -errno, strerror(errno));
	for (int i = 0; i < n; i++) {
		if (r == 0)
			r = load_member(table, dir, entries[i]->d_name, error);
		free(entries[i]);
	}
	free(entries);
	return r;
}

int annotate_new(struct annotate_table **out)
{
	_cleanup_annotate_ struct annotate_table *table = pw_calloc(1, sizeof(*table));
	struct annotate_error error;
	int r;

	if (!table)
		return -ENOMEM;
	r = load(table, "ports.tsv", shipped, strlen(shipped), 0, &error);
	if (r == 0)
		*out = TAKE_PTR(table);
	return r;
}

void annotate_free(struct annotate_table **table)
{
	struct annotate_table *t = *table;

	*table = NULL;
	if (!t)
		return;
	for (struct text *text = t->texts, *next; text; text = next) {
		next = text->next;
		pw_free(text);
	}
	pw_free(t->narrow.row);
	pw_free(t->wide.row);
	pw_free(t);
}

/* Index of the first narrow row that can reach up to port. */
static size_t window(const struct rows *rows, uint16_t port)
{
	unsigned int from = port < ANNOTATE_FLAG_SPAN ? 0 : port - ANNOTATE_FLAG_SPAN + 1;
	size_t low = 0, high = rows->count;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (rows->row[mid].first < from)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

const struct annotate_row *annotate_find(const struct annotate_table *table, uint8_t proto, uint16_t port)
{
	const struct rows *narrow = &table->narrow, *wide = &table->wide;
	const struct annotate_row *best = NULL;

	for (size_t i = window(narrow, port); i < narrow->count && narrow->row[i].first <= port; i++) {
		if (covers(&narrow->row[i], proto, port) && (!best || compare_rank(&narrow->row[i], best) < 0))
			best = &narrow->row[i];
	}
	for (size_t i = 0; best && i < wide->count; i++) {
		const struct annotate_row *row = &wide->row[i];

		if (row->confidence == ANNOTATE_NONE && covers(row, proto, port) && compare_rank(row, best) < 0)
			return NULL;
	}
	return best && best->confidence != ANNOTATE_NONE ? best : NULL;
}

/* Puts row where it belongs among the best of those seen so far. */
static void insert(const struct annotate_row **rows, size_t max, size_t seen, const struct annotate_row *row)
{
	size_t at = seen < max ? seen : max;

	for (; at > 0 && compare_rank(row, rows[at - 1]) < 0; at--) {
		if (at < max)
			rows[at] = rows[at - 1];
	}
	if (at < max)
		rows[at] = row;
}

size_t annotate_explain(const struct annotate_table *table, uint8_t proto, uint16_t port,
			const struct annotate_row **rows, size_t max)
{
	const struct rows *both[] = { &table->narrow, &table->wide };
	size_t seen = 0;

	for (size_t b = 0; b < ARRAY_SIZE(both); b++) {
		for (size_t i = 0; i < both[b]->count; i++) {
			const struct annotate_row *row = &both[b]->row[i];

			if (row->confidence != ANNOTATE_NONE && covers(row, proto, port))
				insert(rows, max, seen++, row);
		}
	}
	return seen;
}

/* "xsan: Apple Xsan" is a service name and what it stands for: returns the latter, and the length of the former. */
static const char *description(const char *name, size_t *service_len)
{
	size_t len = strcspn(name, ": \t");

	*service_len = 0;
	if (len == 0 || strncmp(name + len, ": ", 2) != 0 || !name[len + 2])
		return name;
	*service_len = len;
	return name + len + 2;
}

int annotate_sentence(const struct annotate_row *row, uint16_t port, struct buf *out)
{
	static const char *const before[] = { "registered for ", "documented for ", "documented for ", "listed for ",
					      "silenced" };
	static const char *const after[] = { "", "", ", older releases only",
					     ", unregistered, any program may use it", "" };
	size_t service;
	const char *text = description(row->name, &service);

	buf_printf(out, "%u: %s", port, before[row->confidence]);
	if (row->confidence != ANNOTATE_NONE)
		buf_add_escaped(out, text, strlen(text));
	if (row->confidence == ANNOTATE_REGISTERED && service) {
		buf_adds(out, " (");
		buf_add_escaped(out, row->name, service);
		buf_adds(out, ")");
	}
	buf_adds(out, after[row->confidence]);
	return buf_error(out);
}
