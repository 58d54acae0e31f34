package spec

import (
	"github.com/containerd/typeurl/v2"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/ctorhq/ctor/internal/verbatim"
)

// Encode writes a configuration, or that of a process, as a runtime is told it.
// That is JSON: a string that is not UTF-8 would arrive as another one, and is
// refused.
func Encode(v any) (*anypb.Any, error) {
	a, err := typeurl.MarshalAnyToProto(v)
	if err != nil {
		return nil, err
	}
	return a, verbatim.Check(a.Value)
}
