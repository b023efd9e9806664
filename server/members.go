package server

import (
	"encoding/json"
	"net/http"

	"pagevault/blobstore"
)

// memberList is the body of GET /members.
type memberList struct {
	Accounts []blobstore.Health `json:"accounts"`
}

// members answers GET /members, ?account=NAME for one account.
func (s *Server) members(w http.ResponseWriter, r *http.Request) {
	chosen, leave, ok := s.chosen(w, r)
	if !ok {
		return
	}
	defer leave()
	list := memberList{Accounts: []blobstore.Health{}}
	for _, a := range chosen {
		list.Accounts = append(list.Accounts, a.Health())
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(list)
}
