package registrytest

import (
	"testing"

	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/testsuites"
	"github.com/stretchr/testify/suite"
)

// TestMemory is distribution's own suite of what a driver has to do.
func TestMemory(t *testing.T) {
	suite.Run(t, &small{DriverSuite: testsuites.DriverSuite{
		Constructor: func() (driver.StorageDriver, error) { return memories{}.Create(t.Context(), nil) },
	}})
}

// small is the suite without what takes a minute and gigabytes, the same again
// with large files, and without what sleeps.
type small struct{ testsuites.DriverSuite }

func (s *small) TestWriteReadLargeStreams()     { s.T().Skip("large") }
func (s *small) TestContinueStreamAppendLarge() { s.T().Skip("large") }
func (s *small) TestConcurrentStreamReads()     { s.T().Skip("large") }
func (s *small) TestStatCall()                  { s.T().Skip("sleeps") }
func (s *small) TestConcurrentFileStreams()     { s.T().Skip("large") }
