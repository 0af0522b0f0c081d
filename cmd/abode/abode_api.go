package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// call sends a request to one of the engine's own endpoints, which stand
// beside Docker's under /abode/. An answer that tells a failure becomes its
// error; the caller closes the body of another.
func (a *app) call(ctx context.Context, method, path string, query url.Values, body io.Reader) (*http.Response, error) {
	u := url.URL{Scheme: "http", Host: "abode", Path: path, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{DialContext: a.host().Dial, DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		var e *url.Error
		if errors.As(err, &e) {
			err = e.Err // the URL is of no use to the reader
		}
		return nil, err
	}
	if resp.StatusCode < 400 {
		return resp, nil
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	var e struct{ Message string }
	if json.Unmarshal(text, &e) == nil && e.Message != "" && e.Message != "page not found" {
		return nil, errors.New(e.Message)
	}
	if resp.StatusCode == http.StatusNotFound {
		return nil, fmt.Errorf("the engine at %s has no %s; is it another engine than Abode's?", a.host().Address, path)
	}
	return nil, fmt.Errorf("the engine answered %s: %s", resp.Status, strings.TrimSpace(string(text)))
}

// fetch decodes the answer of an endpoint into v.
func (a *app) fetch(ctx context.Context, path string, v any) error {
	resp, err := a.call(ctx, http.MethodGet, path, nil, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(v); err != nil {
		return fmt.Errorf("cannot read the engine's answer: %w", err)
	}
	return nil
}
