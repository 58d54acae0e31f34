// Package span tells OpenTelemetry, by its API alone, how long what takes long has
// taken: in a program that has set no provider of traces, that is nothing.
package span

import (
	"context"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// The attributes of spans. Where OpenTelemetry's semantic conventions have a name for
// something, that is it.
const (
	ContainerID = attribute.Key("container.id")
	Container   = attribute.Key("container.name")
	Image       = attribute.Key("container.image.name")
	Command     = attribute.Key("process.executable.name")
)

// Begin begins a span, a child of ctx's. end is for defer: it notes the error, if there
// is one.
func Begin(ctx context.Context, name string, attributes ...attribute.KeyValue) (_ context.Context, end func(*error)) {
	ctx, s := otel.Tracer("github.com/ctorhq/ctor").Start(ctx, "ctor."+name, trace.WithAttributes(attributes...))
	return ctx, func(err *error) {
		if *err != nil {
			s.RecordError(*err)
			s.SetStatus(codes.Error, (*err).Error())
		}
		s.End()
	}
}
