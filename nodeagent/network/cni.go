package network

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// ConfFile is the name of the CNI configuration written to CNIConfDir.
const ConfFile = "10-proa.conflist"

type cniList struct {
	CNIVersion string `json:"cniVersion"`
	Name       string `json:"name"`
	Plugins    []any  `json:"plugins"`
}

type cniBridge struct {
	Type        string       `json:"type"`
	Bridge      string       `json:"bridge"`
	IsGateway   bool         `json:"isGateway"`
	IPMasq      bool         `json:"ipMasq"`
	HairpinMode bool         `json:"hairpinMode"`
	MTU         int          `json:"mtu,omitempty"`
	IPAM        cniHostLocal `json:"ipam"`
}

type cniHostLocal struct {
	Type    string       `json:"type"`
	DataDir string       `json:"dataDir"`
	Ranges  [][]cniRange `json:"ranges"`
	Routes  []cniRoute   `json:"routes"`
}

type cniRange struct {
	Subnet  string `json:"subnet"`
	Gateway string `json:"gateway"`
}

type cniRoute struct {
	Dst string `json:"dst"`
}

type cniPortmap struct {
	Type         string          `json:"type"`
	Backend      string          `json:"backend"`
	Capabilities map[string]bool `json:"capabilities"`
}

// conflist renders the CNI configuration of a plan: the bridge plugin with
// host-local addresses, then portmap for host ports.
// https://www.cni.dev/plugins/current/main/bridge/
func conflist(p Plan, bridge, dataDir string, mtu int) ([]byte, error) {
	ipam := cniHostLocal{Type: "host-local", DataDir: dataDir}
	for _, gw := range p.Gateways() {
		ipam.Ranges = append(ipam.Ranges, []cniRange{{Subnet: gw.Masked().String(), Gateway: gw.Addr().String()}})
		dst := "0.0.0.0/0"
		if gw.Addr().Is6() {
			dst = "::/0"
		}
		ipam.Routes = append(ipam.Routes, cniRoute{Dst: dst})
	}
	out, err := json.MarshalIndent(cniList{
		CNIVersion: "1.0.0",
		Name:       "proa",
		Plugins: []any{
			// The masquerade rule is ours: one per node in place of one per pod.
			cniBridge{Type: "bridge", Bridge: bridge, IsGateway: true, HairpinMode: true, MTU: mtu, IPAM: ipam},
			cniPortmap{Type: "portmap", Backend: "nftables", Capabilities: map[string]bool{"portMappings": true}},
		},
	}, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(out, '\n'), nil
}

// writeConflist puts content in place atomically: the runtime watches the
// directory and must never read half a file. It does nothing if the file has
// that content already.
func writeConflist(dir string, content []byte) error {
	path := filepath.Join(dir, ConfFile)
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, content) {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("creating the CNI configuration directory: %w", err)
	}
	// The runtime reads *.conf, *.conflist and *.json only.
	tmp, err := os.CreateTemp(dir, ".proa-*.tmp")
	if err != nil {
		return fmt.Errorf("writing the CNI configuration: %w", err)
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(content)
	if err == nil {
		err = tmp.Chmod(0o644)
	}
	if err == nil {
		err = tmp.Sync()
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("writing the CNI configuration %s: %w", path, err)
	}
	return nil
}
