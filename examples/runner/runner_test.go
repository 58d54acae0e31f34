package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	ctor "github.com/ctorhq/ctor"
	"github.com/ctorhq/ctor/container"
	"github.com/ctorhq/ctor/internal/fixture"
)

func TestMain(m *testing.M) {
	fixture.RunProgram(map[string]func([]string) error{"runner": func(args []string) error {
		return serve(context.Background(), args, os.Stdout, os.Stderr)
	}})
	os.Exit(m.Run())
}

// prepared is a root that has the image, and a file of languages that names it.
func prepared(t *testing.T) (root, languages string, before fixture.Remains) {
	t.Helper()
	root = t.TempDir()
	e, err := ctor.Open(t.Context(), ctor.Config{Root: root})
	require.NoError(t, err)
	img := fixture.Busybox(t, e)
	c, err := img.New(t.Context(), container.Config{}) // unpacks it
	require.NoError(t, err)
	require.NoError(t, c.Close())
	before = fixture.Count(t, e)
	require.NoError(t, e.Close())
	languages = t.TempDir() + "/languages.json"
	b, err := json.Marshal(map[string]language{"sh": {Image: img.Ref(), File: "/tmp/main.sh", Command: []string{"sh", "/tmp/main.sh"}}})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(languages, b, 0o600))
	return root, languages, before
}

// served runs the service in this process, and gives its URL.
func served(t *testing.T, args ...string) (url string, traces *bytes.Buffer, end func()) {
	t.Helper()
	root, languages, _ := prepared(t)
	ctx, stop := context.WithCancel(context.Background())
	r, w := io.Pipe()
	traces = &bytes.Buffer{}
	ended := make(chan error, 1)
	go func() {
		ended <- serve(ctx, append([]string{"-address", "127.0.0.1:0", "-root", root, "-languages", languages}, args...), w, traces)
		w.Close()
	}()
	line, err := bufio.NewReader(r).ReadString('\n')
	require.NoError(t, err)
	var once sync.Once
	end = func() { once.Do(func() { stop(); require.NoError(t, <-ended) }) }
	t.Cleanup(end)
	return "http://" + strings.TrimSpace(strings.TrimPrefix(line, "listening on ")), traces, end
}

// answer is what a client makes of the events.
type answer struct {
	stdout, stderr string
	result
}

func post(ctx context.Context, url string, r request) (a answer, err error) {
	b, err := json.Marshal(r)
	if err != nil {
		return a, err
	}
	q, err := http.NewRequestWithContext(ctx, "POST", url+"/run", bytes.NewReader(b))
	if err != nil {
		return a, err
	}
	resp, err := http.DefaultClient.Do(q)
	if err != nil {
		return a, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(resp.Body)
		return a, fmt.Errorf("%s: %s", resp.Status, b)
	}
	return read(resp.Body)
}

func read(from io.Reader) (a answer, err error) {
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, 16<<20)
	var event, text string
	a.Code = -2
	for lines.Scan() {
		name, data, _ := strings.Cut(lines.Text(), ": ")
		switch {
		case name == "event":
			event = data
		case name != "data":
		case event == "exit":
			err = json.Unmarshal([]byte(data), &a.result)
		default:
			if err = json.Unmarshal([]byte(data), &text); event == "stdout" {
				a.stdout += text
			} else {
				a.stderr += text
			}
		}
		if err != nil {
			return a, err
		}
	}
	if a.Code == -2 {
		return a, io.ErrUnexpectedEOF
	}
	return a, lines.Err()
}

func TestRun(t *testing.T) {
	url, traces, end := served(t, "-traces")
	ask := func(r request) answer {
		t.Helper()
		r.Language = "sh"
		a, err := post(t.Context(), url, r)
		require.NoError(t, err)
		require.Empty(t, a.Error)
		return a
	}
	a := ask(request{Source: "echo hello; echo oops >&2; cat; exit 3", Stdin: "given"})
	require.Equal(t, "hello\ngiven", a.stdout)
	require.Equal(t, "oops\n", a.stderr)
	require.Equal(t, 3, a.Code)
	require.Empty(t, a.Cut)
	a = ask(request{Source: "sleep 1000 & sleep 1000", Timeout: 0.2})
	require.Equal(t, "time", a.Cut)
	a = ask(request{Source: "yes"})
	require.Equal(t, "output", a.Cut)
	require.Len(t, a.stdout, mostOutput)
	a = ask(request{Source: "x=x; while true; do x=$x$x; done", Memory: 16})
	require.Equal(t, "memory", a.Cut)
	a = ask(request{Source: "printf '\\377'"})
	require.Equal(t, "\uFFFD", a.stdout)
	// The walls.
	a = ask(request{Source: `
		touch /x 2>/dev/null && echo wrote; touch /etc/x 2>/dev/null && echo wrote
		touch /tmp/x && echo tmp; id -u; ls /sys/class/net; grep CapBnd /proc/self/status
		i=0; while [ $i -lt 100 ]; do sleep 10 & i=$((i+1)); done 2>/dev/null; echo not here`})
	require.NotContains(t, a.stdout, "wrote")
	require.Contains(t, a.stdout, "tmp\n65534\nlo\nCapBnd:\t0000000000000000\n")
	require.NotContains(t, a.stdout, "not here", "it has no more processes")

	for body, says := range map[string]string{
		`{`:                                "no JSON",
		`{"language": "cobol"}`:            `language "cobol" is not known`,
		`{"language": "sh", "timeout":-1}`: "can't be that",
	} {
		resp, err := http.Post(url+"/run", "application/json", strings.NewReader(body))
		require.NoError(t, err)
		b, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, http.StatusBadRequest, resp.StatusCode)
		require.Contains(t, string(b), says)
	}
	require.Contains(t, scrape(t, url), `runner_runs_total{cut="output",language="sh"} 1`)
	end()
	for _, name := range []string{`"Name":"run"`, `"Name":"ctor.create"`, `"Name":"ctor.start"`} {
		require.Contains(t, traces.String(), name)
	}
}

func scrape(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url + "/metrics")
	require.NoError(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return string(b)
}

// A client that goes ends its code, and Prometheus sees what runs.
func TestClientGoes(t *testing.T) {
	url, _, _ := served(t, "-at-once", "1")
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_, _ = post(ctx, url, request{Language: "sh", Source: "sleep 1000", Timeout: 60})
	}()
	require.Eventually(t, func() bool {
		s := scrape(t, url)
		return strings.Contains(s, "runner_running 1") && strings.Contains(s, "ctor_container_memory_bytes{")
	}, time.Minute, 10*time.Millisecond)
	cancel()
	<-gone
	a, err := post(t.Context(), url, request{Language: "sh", Source: "echo next"})
	require.NoError(t, err, "the only slot is free again")
	require.Equal(t, "next\n", a.stdout)
	require.Contains(t, scrape(t, url), `runner_runs_total{cut="client",language="sh"} 1`)
}

// More clients than may run are all served, each its own.
func TestLoad(t *testing.T) {
	clients, each := 96, 4
	if testing.Short() {
		clients, each = 16, 2
	}
	url, _, _ := served(t)
	began := time.Now()
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			for range each {
				a, err := post(t.Context(), url, request{Language: "sh", Source: "read x; echo got $x", Stdin: fmt.Sprintln(i), Timeout: 60})
				if err != nil || a.stdout != fmt.Sprintf("got %d\n", i) || a.Code != 0 {
					t.Errorf("%d: %+v %v", i, a, err)
				}
			}
		})
	}
	all.Wait()
	t.Logf("%d runs of %d clients in %v", clients*each, clients, time.Since(began).Round(time.Millisecond))
}

// The service is killed in the middle, and nothing of it is left.
func TestKilled(t *testing.T) {
	root, languages, before := prepared(t)
	cmd := fixture.Program("runner", "-address", "127.0.0.1:0", "-root", root, "-languages", languages)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	url := "http://" + strings.TrimSpace(strings.TrimPrefix(line, "listening on "))
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for {
				if _, err := post(t.Context(), url, request{Language: "sh", Source: "sleep 0.1 & sleep 0.05"}); err != nil {
					return
				}
			}
		})
	}
	require.Eventually(t, func() bool { return strings.Contains(scrape(t, url), `runner_runs_total{cut="",language="sh"} `) }, time.Minute, 10*time.Millisecond)
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	all.Wait()
	e, err := ctor.Open(t.Context(), ctor.Config{Root: root})
	require.NoError(t, err)
	defer e.Close()
	before.Same(t, func() fixture.Remains { return fixture.Count(t, e) })
}
