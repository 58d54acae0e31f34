// Package database has no code, only tests: each starts a database server of
// its own, which is ready in a fraction of a second and gone with the test, and
// asks it through the usual client. No port is published, so none clashes, and
// nothing one test writes is seen by another.
//
//	go test -v -parallel 20 .
//
// It is a module of its own, since a program that runs containers needs no
// database clients.
package database
