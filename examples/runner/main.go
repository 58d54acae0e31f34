package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/stdout/stdouttrace"
	"go.opentelemetry.io/otel/sdk/trace"

	ctor "github.com/ctorhq/ctor"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := serve(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "runner:", err)
		os.Exit(1)
	}
}

// serve is main until ctx ends. It says where it listens.
func serve(ctx context.Context, args []string, out, traces io.Writer) (err error) {
	flags := flag.NewFlagSet("runner", flag.ContinueOnError)
	address := flags.String("address", "localhost:8080", "where to listen")
	root := flags.String("root", "", "where images and containers are; empty: ctor's default")
	file := flags.String("languages", "", "JSON file of languages; empty: sh, python and node")
	atOnce := flags.Int("at-once", 64, "how many may run at the same time")
	traced := flags.Bool("traces", false, "write traces to standard error")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *traced {
		end, err := record(traces)
		if err != nil {
			return err
		}
		defer end()
	}
	languages, err := readLanguages(*file)
	if err != nil {
		return err
	}
	engine, err := ctor.Open(ctx, ctor.Config{Root: *root})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, engine.Close()) }()
	if err := fetch(ctx, engine, languages); err != nil {
		return err
	}
	m := newMetrics(engine)
	mux := http.NewServeMux()
	mux.Handle("POST /run", newService(languages, *atOnce, m))
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	l, err := net.Listen("tcp", *address)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "listening on", l.Addr())
	return serveUntil(ctx, &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute}, l)
}

// serveUntil ends what is under way some time after ctx has ended.
func serveUntil(ctx context.Context, s *http.Server, l net.Listener) error {
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	late, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if s.Shutdown(late) != nil {
		return s.Close()
	}
	return nil
}

// record sends all traces of the program, ctor's too, to a writer.
func record(w io.Writer) (end func(), err error) {
	to, err := stdouttrace.New(stdouttrace.WithWriter(w))
	if err != nil {
		return nil, err
	}
	provider := trace.NewTracerProvider(trace.WithBatcher(to))
	otel.SetTracerProvider(provider)
	return func() { _ = provider.Shutdown(context.Background()) }, nil
}
