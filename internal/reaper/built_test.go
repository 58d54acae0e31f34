package reaper_test

import (
	"testing"

	"github.com/ctorhq/ctor/internal/fixture"
)

func TestBuilt(t *testing.T) { fixture.Built(t, "internal/reaper") }
