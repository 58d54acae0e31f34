// Package registrytest is a registry for tests, after net/http/httptest: a
// real one, that passes the OCI's conformance suite, on a loopback port of this
// process.
//
//	func TestPull(t *testing.T) {
//		srv := registrytest.NewServer(t, nil)
//		reg, err := registry.New(srv.Host, srv.Options())
//		…
//	}
//
// It keeps what is pushed in memory, says nothing in the log, and is closed
// when the test ends. It fails on request:
//
//	srv.SetMiddleware(registrytest.On(registrytest.Blobs, registrytest.Cut(1, 1000)))
//
// Like most it wants an image's blobs before its manifest, and an index's
// manifests before the index.
//
// [Handler] is for programs that are no tests, and serve a registry of their
// own.
package registrytest
