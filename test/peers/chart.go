package main

// charts draws what can be drawn, and returns the files' names.
func (r *report) charts(string) (map[*table]string, error) { return nil, nil }
