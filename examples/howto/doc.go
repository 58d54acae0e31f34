// Package howto answers, each with a program that compiles, what people ask most: see
// docs/howto.md.
package howto
