package server

import (
	"encoding/json"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"pagevault/blobstore"
)

// accountList is the body of GET /accounts.
type accountList struct {
	Accounts []accountUsage `json:"accounts"`
}

// accountUsage is what one account has and takes; see blobstore.Usage. Bytes on disk are of one member.
type accountUsage struct {
	Name             string         `json:"name"`
	Containers       uint64         `json:"containers"`
	Blobs            uint64         `json:"blobs"`
	Snapshots        uint64         `json:"snapshots"`
	ProvisionedBytes uint64         `json:"provisionedBytes"`
	WrittenBytes     uint64         `json:"writtenBytes"`
	UniqueBytes      uint64         `json:"uniqueBytes"`
	LiveBytes        uint64         `json:"liveBytes"`
	StoredBytes      uint64         `json:"storedBytes"`
	MetadataBytes    uint64         `json:"metadataBytes"`
	IndexBytes       uint64         `json:"indexBytes"`
	LogBytes         uint64         `json:"logBytes"`
	DedupRatio       float64        `json:"dedupRatio"`
	CompressionRatio float64        `json:"compressionRatio"`
	Encrypted        bool           `json:"encrypted"`
	Keys             int            `json:"keys"`             // how many; what they are nobody is told
	Source           string         `json:"source,omitempty"` // what names the account; see AccountKeeper.Describe
	Rate             Rate           `json:"rate"`             // what it may ask for in a second, 0 is no bound
	Limits           *AccountLimits `json:"limits"`           // null: none
}

// accounts answers GET /accounts, ?account=NAME for one of them.
func (s *Server) accounts(w http.ResponseWriter, r *http.Request) {
	chosen, leave, ok := s.chosen(w, r)
	if !ok {
		return
	}
	defer leave()
	list := accountList{Accounts: []accountUsage{}}
	for _, a := range chosen {
		u, err := a.Usage()
		if err != nil {
			http.Error(w, "account "+a.Name()+": "+err.Error(), http.StatusServiceUnavailable)
			return
		}
		one := usageOf(a, &u)
		one.Rate = s.meters.rateOf(a.Name())
		if s.o.Accounts != nil {
			one.Source = s.o.Accounts.Describe(a.Name())
		}
		list.Accounts = append(list.Accounts, one)
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(list)
}

// chosen returns the account that the query names, or all; they stay there until leave is called. If there is no such
// account it answers 404 and ok is false.
func (s *Server) chosen(w http.ResponseWriter, r *http.Request) (accounts []*blobstore.Account, leave func(), ok bool) {
	query := r.URL.Query()
	if query.Has("account") {
		a, ok := s.look(query.Get("account"))
		if !ok {
			http.Error(w, "there is no account "+query.Get("account"), http.StatusNotFound)
			return nil, nil, false
		}
		return []*blobstore.Account{a}, a.Leave, true
	}
	accounts = s.lookAll()
	return accounts, func() { leaveAll(accounts) }, true
}

// look returns the account of that name, which stays there until it is left.
func (s *Server) look(name string) (*blobstore.Account, bool) {
	a, ok := s.o.Service.Account(name)
	return a, ok && a.Look()
}

// lookAll returns all accounts, which stay there until leaveAll.
func (s *Server) lookAll() (accounts []*blobstore.Account) {
	for _, a := range s.o.Service.Accounts() {
		if a.Look() {
			accounts = append(accounts, a)
		}
	}
	return accounts
}

func leaveAll(accounts []*blobstore.Account) {
	for _, a := range accounts {
		a.Leave()
	}
}

func usageOf(a *blobstore.Account, u *blobstore.Usage) accountUsage {
	out := accountUsage{
		Name: a.Name(), Encrypted: a.Encrypted(), Keys: len(a.Signing().Keys), Containers: u.Containers, Blobs: u.Blobs, Snapshots: u.Snapshots, ProvisionedBytes: u.ProvisionedBytes,
		WrittenBytes: u.WrittenBytes, UniqueBytes: u.UniqueBytes, LiveBytes: u.LiveBytes, StoredBytes: u.StoredBytes,
		MetadataBytes: u.MetadataBytes, IndexBytes: u.IndexBytes, LogBytes: u.LogBytes,
		DedupRatio: u.DedupRatio(), CompressionRatio: u.CompressionRatio(),
	}
	out.Limits = limitsOf(u.Limits)
	return out
}

// usageFigure is one number of an account's usage.
type usageFigure struct {
	desc *prometheus.Desc
	read func(u *blobstore.Usage) float64
}

// usageFigures are what is told about what each account has and takes.
func usageFigures() []usageFigure {
	gauge := func(name, help string, read func(u *blobstore.Usage) uint64) usageFigure {
		return usageFigure{prometheus.NewDesc("pagevault_account_"+name, help, []string{"account"}, nil),
			func(u *blobstore.Usage) float64 { return float64(read(u)) }}
	}
	return []usageFigure{
		gauge("containers", "Containers.", func(u *blobstore.Usage) uint64 { return u.Containers }),
		gauge("blobs", "Blobs, without snapshots.", func(u *blobstore.Usage) uint64 { return u.Blobs }),
		gauge("snapshots", "Snapshots.", func(u *blobstore.Usage) uint64 { return u.Snapshots }),
		gauge("provisioned_bytes", "Sizes of all blobs together.", func(u *blobstore.Usage) uint64 { return u.ProvisionedBytes }),
		gauge("written_bytes", "Pages of blobs and snapshots that were written, each as often as it is shown.",
			func(u *blobstore.Usage) uint64 { return u.WrittenBytes }),
		gauge("unique_bytes", "Of these, different content.", func(u *blobstore.Usage) uint64 { return u.UniqueBytes }),
		gauge("live_bytes", "Data: what stores it, compressed.", func(u *blobstore.Usage) uint64 { return u.LiveBytes }),
		gauge("stored_bytes", "Data with garbage that still lies beside it.", func(u *blobstore.Usage) uint64 { return u.StoredBytes }),
		gauge("metadata_bytes", "Everything on disk that is not content: the index, its checkpoints, and what the log says about content.",
			func(u *blobstore.Usage) uint64 { return u.MetadataBytes }),
	}
}

var limitDesc = prometheus.NewDesc("pagevault_account_limit_bytes", "What the account may hold. There is none for accounts without limits.",
	[]string{"account", "limit"}, nil)

// collectUsage reports the usage of one account. There is none while its store cannot be read.
func (c *stateCollector) collectUsage(ch chan<- prometheus.Metric, a *blobstore.Account) {
	u, err := a.Usage()
	if err != nil {
		return
	}
	for _, f := range c.usage {
		ch <- prometheus.MustNewConstMetric(f.desc, prometheus.GaugeValue, f.read(&u), a.Name())
	}
	if u.Limits == (blobstore.Limits{}) {
		return
	}
	for limit, bytes := range map[string]int64{"total": u.Limits.TotalBytes, "data": u.Limits.DataBytes, "metadata": u.Limits.MetadataBytes} {
		ch <- prometheus.MustNewConstMetric(limitDesc, prometheus.GaugeValue, float64(bytes), a.Name(), limit)
	}
}
