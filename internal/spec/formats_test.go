package spec

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFits(t *testing.T) {
	const (
		python    = "enabled\ninterpreter /usr/bin/python3.11\nflags: \noffset 0\nmagic a70d0d0a\n" // Debian 12's
		masked    = "enabled\ninterpreter /usr/bin/x\nflags: OCF\noffset 2\nmagic 610063\nmask ff00ff\n"
		extension = "enabled\ninterpreter /usr/bin/java\nflags: P\nextension .jar\n"
	)
	for _, c := range []struct {
		format, name, head string
		fits               bool
	}{
		{python, "/opt/text", "just text\n", false},
		{python, "/opt/module", "\xa7\x0d\x0d\x0a\x00", true},
		{python, "/opt/module", "\xa7\x0d\x0d", false},
		{"dis" + python[2:], "/opt/module", "\xa7\x0d\x0d\x0a", false},
		{masked, "/x", "__abc", true},
		{masked, "/x", "__abd", false},
		{masked, "/x", "__ab", false},
		{extension, "/x.jar", "", true},
		{extension, "/jar", "", false},
		{"enabled\n", "/x", "text", false}, // the file status
		{"enabled\noffset 1\nmagic zz\n", "/x", "text", false},
		{"enabled\noffset -1\nmagic 61\n", "/x", "text", false},
		{"", "/x", "", false},
	} {
		require.Equal(t, c.fits, fits(c.format, c.name, []byte(c.head)), "%q: %s", c.format, c.name)
	}
}
