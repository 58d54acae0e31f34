package link

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestKind(t *testing.T) {
	for _, kind := range []string{Attached, Detached} {
		got, err := Kind(Args(kind)[1:])
		require.NoError(t, err)
		require.Equal(t, kind, got)

		got, err = Kind([]string{kind})
		require.EqualError(t, err, "the program that started it speaks no protocol, and this shim protocol "+Protocol)
		require.Empty(t, got)
		for _, other := range []string{"0", Protocol + "0", " " + Protocol} {
			got, err = Kind([]string{kind, other, "whatever"})
			require.EqualError(t, err, "the program that started it speaks protocol "+other+", and this shim protocol "+Protocol)
			require.Empty(t, got)
		}
	}
	got, err := Kind([]string{Stock})
	require.NoError(t, err)
	require.Equal(t, Stock, got)
	for _, args := range [][]string{nil, {"-info"}, {"-id", Attached, "start"}, {"init"}, {Stock, Protocol}} {
		got, err := Kind(args)
		require.NoError(t, err)
		require.Empty(t, got)
	}
}
