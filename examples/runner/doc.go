// Command runner is an HTTP service that runs code which it is sent, each time in a
// container of its own that is gone afterwards.
//
//	runner -languages languages.json
//
//	curl -N localhost:8080/run -d '{"language": "sh", "source": "echo hello"}'
//	event: stdout
//	data: "hello\n"
//
//	event: exit
//	data: {"code":0,"seconds":0.011}
//
// A request is a JSON object with language, source, stdin, timeout (seconds) and
// memory (MiB). The answer is server-sent events: stdout and stderr as they come, in
// JSON's strings, and at last exit, which also says whether the code was cut off for
// its time, its memory or its output. A client that goes ends its code. At most 64
// run at the same time; others wait, and a hundred times as many are turned away.
//
// The code has no network, no capabilities, no user but nobody, a root that it can't
// write to, some memory, one processor and 64 processes. When this program ends,
// also by SIGKILL, nothing of it is left.
//
// GET /metrics is for Prometheus: runs, their times, and what each container that runs
// uses now. With -traces each run is a trace, as JSON on standard error, with ctor's
// own spans in it; a request's traceparent is its parent.
package main
