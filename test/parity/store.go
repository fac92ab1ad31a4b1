package parity

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// get returns all keys below prefix with their values.
func (s *store) get(prefix string) (map[string][]byte, error) {
	end := []byte(prefix)
	end[len(end)-1]++
	var out struct {
		KVs []struct{ Key, Value []byte }
	}
	if err := s.call("/v3/kv/range", map[string]any{"key": b64(prefix), "range_end": b64(string(end))}, &out); err != nil {
		return nil, err
	}
	values := map[string][]byte{}
	for _, kv := range out.KVs {
		values[string(kv.Key)] = kv.Value
	}
	return values, nil
}

// put writes a value.
func (s *store) put(key string, value []byte) error {
	return s.call("/v3/kv/put", map[string]any{"key": b64(key), "value": b64(string(value))}, &struct{}{})
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func (s *store) call(path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	resp, err := http.Post(s.url+path, "application/json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("etcd: %s: %s", path, answer)
	}
	return json.Unmarshal(answer, out)
}
