// Package ctor embeds containers in Go programs.
package ctor
