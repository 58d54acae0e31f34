package userns

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParse(t *testing.T) {
	host := Parse([]byte("         0          0 4294967295\n"), []byte("         0          0 4294967295\n"), []byte("allow\n"))
	require.True(t, host.Host())
	require.Equal(t, Everyone, host)
	require.False(t, host.Single())
	require.EqualValues(t, 4294967294, host.LastGroup())

	single := Parse([]byte("         0       1001          1\n"), []byte("         0       1001          1\n"), []byte("deny\n"))
	require.False(t, single.Host())
	require.True(t, single.Single())
	require.False(t, single.Setgroups)
	require.True(t, single.HasUser(0))
	require.False(t, single.HasUser(1))
	require.Zero(t, single.LastGroup())

	full := Parse([]byte("0 1001 1\n1 100000 65536\n"), []byte("0 1001 1\n1 100000 1000\n1001 200000 10\n5000 300000 1\n"), []byte("allow\n"))
	require.False(t, full.Host())
	require.False(t, full.Single())
	require.True(t, full.Setgroups)
	require.True(t, full.HasUser(65536))
	require.False(t, full.HasUser(65537))
	require.EqualValues(t, 1010, full.LastGroup())
	require.True(t, full.HasGroup(5000))
	require.False(t, full.HasGroup(1011))

	require.False(t, Parse(nil, nil, nil).HasUser(0), "not mapped yet")
}
