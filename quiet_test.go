package ctor_test
func helpQuiet(args []string) error { return nil }
func helpDialed(args []string) error { return nil }
