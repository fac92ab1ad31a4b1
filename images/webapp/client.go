package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

const (
	defaultTimeout = 10 * time.Second
	serviceAccount = "/var/run/secrets/kubernetes.io/serviceaccount/"
	bodyLimit      = 1 << 20
)

// get fetches url until a try succeeds with a 2xx status, and prints the body.
func get(ctx context.Context, url string, timeout time.Duration, tries int, out io.Writer) error {
	client := &http.Client{Timeout: timeout}
	var err error
	for try := range max(tries, 1) {
		if try > 0 {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(time.Second):
			}
		}
		var body string
		if body, err = fetch(ctx, client, url, ""); err == nil {
			_, err = io.WriteString(out, body)
			return err
		}
	}
	return err
}

// fetch returns the body of a 2xx answer.
func fetch(ctx context.Context, client *http.Client, url, token string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, bodyLimit))
	if err != nil {
		return "", err
	}
	if resp.StatusCode/100 != 2 {
		return "", fmt.Errorf("%s: %s: %s", url, resp.Status, body)
	}
	return string(body), nil
}

// apiGet asks the cluster's API as the pod's service account.
func apiGet(ctx context.Context, path string) (string, error) {
	token, err := os.ReadFile(serviceAccount + "token")
	if err != nil {
		return "", err
	}
	ca, err := os.ReadFile(serviceAccount + "ca.crt")
	if err != nil {
		return "", err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return "", fmt.Errorf("%sca.crt holds no certificate", serviceAccount)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	defer transport.CloseIdleConnections()
	client := &http.Client{Timeout: defaultTimeout, Transport: transport}
	host := net.JoinHostPort(os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT"))
	return fetch(ctx, client, "https://"+host+path, string(token))
}

// job stands for a release's database migration: it says what it would do,
// takes JOB_DURATION over it, and fails where JOB_FAIL says so.
func job(ctx context.Context, env func(string) string, out io.Writer) error {
	fmt.Fprintf(out, "migrating release %s to revision %s\n", env("RELEASE"), env("REVISION"))
	duration, _ := time.ParseDuration(env("JOB_DURATION"))
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(duration):
	}
	if reason := env("JOB_FAIL"); reason != "" {
		return fmt.Errorf("migration failed: %s", reason)
	}
	fmt.Fprintln(out, "migrated")
	return nil
}
