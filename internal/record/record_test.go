package record

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/typeurl/v2"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/anypb"
)

func TestRecord(t *testing.T) {
	want := Record{
		Name: "db", Ref: "postgres", Image: "sha256:1", Labels: map[string]string{"a": "b", "empty": ""},
		StopSignal: "SIGINT", StopTimeout: time.Second, Health: json.RawMessage(`{"Check":null}`),
		Detached: true, Owner: "me",
	}
	c := containers.Container{ID: "id", Extensions: map[string]typeurl.Any{"other": &anypb.Any{TypeUrl: "x"}}}
	before := c.Extensions
	require.NoError(t, want.Put(&c))
	got, ok := Of(c)
	require.True(t, ok)
	require.Equal(t, want, got)
	require.Equal(t, map[string]string{"a": "b"}, c.Labels, "containerd keeps none that is empty")
	require.Len(t, c.Extensions, 2)
	require.Len(t, before, 1, "that of a copy is not touched")
	a := c.Extensions["io.ctor.record"]
	require.Equal(t, "io.ctor/record", a.GetTypeUrl())
	v, err := typeurl.UnmarshalAny(a)
	require.NoError(t, err, "containerd's own way reads it")
	require.Equal(t, &want, v)
}

// A container of another program has none, nor has one whose record is broken.
func TestNoRecord(t *testing.T) {
	for _, c := range []containers.Container{
		{},
		{Labels: map[string]string{"io.ctor.owner": "me"}},
		{Extensions: map[string]typeurl.Any{"io.ctor.record": &anypb.Any{TypeUrl: "io.ctor/record", Value: []byte(`{"Name":`)}}},
		{Extensions: map[string]typeurl.Any{"io.ctor.record": &anypb.Any{TypeUrl: "io.ctor/record", Value: []byte(`{"Name":1}`)}}},
	} {
		r, ok := Of(c)
		require.False(t, ok)
		require.Equal(t, Record{}, r)
	}
}
