package memo

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMemo(t *testing.T) {
	var m Memo[int, int]
	_, ok := m.Get(1)
	require.False(t, ok)
	for n := range most {
		m.Put(n, 2*n)
	}
	for n := range most {
		v, ok := m.Get(n)
		require.True(t, ok)
		require.Equal(t, 2*n, v)
	}
	m.Put(most, 1)
	require.Len(t, m.all, 1, "a bound")
}
