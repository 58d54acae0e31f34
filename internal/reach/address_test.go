package reach

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The container writes its hosts file.
func TestHostsFile(t *testing.T) {
	t.Parallel()
	for file, want := range map[string][]string{
		"":             nil,
		"127.0.0.1 db": {"127.0.0.1"},
		"127.0.0.1\tx DB # c\n\n::1 db\n10.0.0.1 dbx": {"127.0.0.1", "::1"},
		"::ffff:10.0.0.1 db":                          {"10.0.0.1"},
		"#127.0.0.1 db\n127.0.0.1 # db\ndb db":        nil,
		"fe80::1%lo db\n127.0.0.1":                    nil,
		strings.Repeat("10.0.0.1 db\n", 1000):         slices.Repeat([]string{"10.0.0.1"}, 16),
		strings.Repeat("x", 2<<20) + "\n127.0.0.1 db": nil,
		strings.Repeat("#\n", 1<<20) + "127.0.0.1 db": nil,
	} {
		var got []string
		for _, ip := range lookupHosts(strings.NewReader(file), "db.") {
			got = append(got, ip.String())
		}
		require.Equal(t, want, got, "%.40q", file)
	}
}
