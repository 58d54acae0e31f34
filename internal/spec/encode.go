package spec

import (
	"github.com/containerd/typeurl/v2"
	"github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/ctorhq/ctor/internal/verbatim"
)

// Encode writes a configuration, or that of a process, as a runtime is told it.
// That is JSON: a string that is not UTF-8 would arrive as another one, and is
// refused.
func Encode(v any) (*anypb.Any, error) {
	a, err := encode(v)
	if err != nil {
		return nil, err
	}
	return a, verbatim.Check(a.Value)
}

func encode(v any) (*anypb.Any, error) {
	s, whole := v.(*specs.Spec)
	if !whole {
		return typeurl.MarshalAnyToProto(v)
	}
	url, err := typeurl.TypeURL(s)
	if err != nil {
		return nil, err
	}
	b, err := marshal(s)
	return &anypb.Any{TypeUrl: url, Value: b}, err
}
