package span

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/embedded"
	"go.opentelemetry.io/otel/trace/noop"
)

// seen notes what spans are told.
type seen struct {
	noop.Tracer
	names  []string
	failed []error
}

type provider struct {
	embedded.TracerProvider
	*seen
}

func (p provider) Tracer(string, ...trace.TracerOption) trace.Tracer { return p.seen }

func (s *seen) Start(ctx context.Context, name string, _ ...trace.SpanStartOption) (context.Context, trace.Span) {
	s.names = append(s.names, name)
	return ctx, &one{of: s}
}

type one struct {
	noop.Span
	of *seen
}

func (o *one) RecordError(err error, _ ...trace.EventOption) { o.of.failed = append(o.of.failed, err) }
func (o *one) SetStatus(codes.Code, string)                  {}

func TestBegin(t *testing.T) {
	s := &seen{}
	otel.SetTracerProvider(provider{seen: s})
	do := func(err error) error {
		_, end := Begin(t.Context(), "create", Image.String("x"))
		defer end(&err)
		return err
	}
	bad := errors.New("bad")
	require.NoError(t, do(nil))
	require.Error(t, do(bad))
	require.Equal(t, []string{"ctor.create", "ctor.create"}, s.names)
	require.Equal(t, []error{bad}, s.failed)
}
