# SPDX-License-Identifier: GPL-2.0
# What a guest printed (see init.c), as TAP without numbers, every name with the guest's own before it. What a failing
# test said stands before its line. A run that is called
#
#   probes     prints a JSON line for each hook, compared with `expected`: HOOK=RUNG..., *=RUNG for the
#              others; -: not asked
#   LABEL=N:WORDS   is one test, passed when it exits with status N and has said WORDS (a regular expression, with dots
#              for blanks)
#
# and any other one speaks TAP itself. Also writes passed, failed, skipped and the rungs to `summary`.

function point(outcome, name) {
	if (outcome == "failed")
		printf "%s", said
	said = ""
	count[outcome]++
	seen++
	print (outcome == "passed" ? "ok - " : outcome == "failed" ? "not ok - " : "not ok # SKIP ") guest ":" name
}

function check(good, name) {
	point(good ? "passed" : "failed", name)
}

function of(key, line) {
	if (!match(line, "\"" key "\":\"[^\"]*\""))
		return ""
	return substr(line, RSTART + length(key) + 4, RLENGTH - length(key) - 5)
}

function read_expected(   n, i, words, at) {
	n = split(expected, words, " ")
	for (i = 1; i <= n; i++) {
		at = index(words[i], "=")
		wanted[substr(words[i], 1, at - 1)] = substr(words[i], at + 1)
	}
}

function hook(line,   name, rung, want) {
	name = of("hook", line)
	if (name == "")
		return
	rung = of("rung", line)
	hooks[rung]++
	want = name in wanted ? wanted[name] : wanted["*"]
	known[name]
	if (expected != "-" && rung != want) {
		wrong++
		said = said "  " guest ": " name " took " rung ", not " want "\n"
	}
}

function end_probes(status,   name) {
	for (name in wanted) {
		if (name != "*" && !(name in known)) {
			wrong++
			said = said "  " guest ": no hook is called " name "\n"
		}
	}
	check(!wrong && status == 0 && length(known) > 0, "probes")
}

function end_refusal(status,   at, wanted_status, words) {
	at = index(label, "=")
	wanted_status = substr(label, at + 1) + 0
	words = substr(label, index(label, ":") + 1)
	check(status == wanted_status && said ~ words, substr(label, 1, at - 1))
}

function end_tests(status) {
	if (seen < announced || !announced || (status != 0 && !failed_here())) {
		said = said "  " guest ": status " status " after " seen " of " announced + 0 " tests\n"
		check(0, label)
	}
}

function failed_here() {
	return count["failed"] > failed_before
}

BEGIN {
	read_expected()
}

/^==> begin / {
	label = $3
	said = ""
	seen = announced = 0
	failed_before = count["failed"] + 0
	next
}

/^==> end / {
	if (label == "probes")
		end_probes($4)
	else if (label ~ /=[0-9]+:/)
		end_refusal($4)
	else
		end_tests($4)
	label = said = ""
	next
}

/^==> done/ {
	done = 1
	next
}

/^1\.\.[0-9]+$/ {
	announced += substr($0, 4)
	next
}

/^ok [0-9]+ - / {
	sub(/^ok [0-9]+ - /, "")
	point("passed", $0)
	next
}

/^not ok [0-9]+ # SKIP / {
	sub(/^not ok [0-9]+ # SKIP /, "")
	point("skipped", $0)
	next
}

/^not ok [0-9]+ - / {
	sub(/^not ok [0-9]+ - /, "")
	point("failed", $0)
	why = 1
	next
}

# Where it failed.
why && /^# / {
	print
	next
}

{
	why = 0
}

label == "probes" {
	hook($0)
}

{
	said = said "  " $0 "\n"
}

END {
	check(done, "comes_to_its_end")
	while ((got = (getline line < log_file)) > 0) {
		if (line ~ trouble)
			said = said "  " line "\n"
	}
	if (got < 0)
		said = said "  " log_file ": cannot be read\n"
	check(said == "", "kernel_log")
	printf "%d\t%d\t%d\t", count["passed"], count["failed"], count["skipped"] >summary
	for (rung in hooks) {
		printf "%s%s %d", separator, rung, hooks[rung] >summary
		separator = ", "
	}
	print "" >summary
}
