package life

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/ctorhq/ctor/internal/journal"
)

// A container of which the runtime has nothing is what its journal says.
func TestPast(t *testing.T) {
	gone := errors.New("gone")
	dir := t.TempDir()
	a := &Asked{Journal: journal.At(dir), Gone: func(err error) bool { return errors.Is(err, gone) }}
	require.EqualValues(t, "created", a.past().State)
	_, err := a.Journal.Begin(time.Now(), "")
	require.NoError(t, err)
	require.EqualValues(t, "stopped", a.past().State)
	require.Equal(t, Unknown, a.past().Exit.Code)
	require.NoError(t, a.Journal.End(Exit{Code: 7}))
	require.Equal(t, 7, a.past().Exit.Code)
	a.Journal = journal.At(dir + "/gone")
	require.EqualValues(t, "stopped", a.past().State)
	require.Equal(t, Unknown, a.past().Exit.Code)
}
