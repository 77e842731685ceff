# shellcheck shell=bash
# shellcheck disable=SC2034 # names that other libraries read, or a function by name
# shellcheck disable=SC2015,SC2004 # `a && b || report` is meant as such; the keys of an array are words
# The certificate generations of a host: fetched into a directory of their own, checked there, and only then
# pointed at by `current`, one rename for all three files.
#
#   generations/2-4f1c0a9be231/{ca.crt,server.crt,server.key}    app hosts: ca.crt only
#   generations/2-4f1c0a9be231/hashed/1f2e3d4c.0 -> ../ca.crt    where OpenSSL looks a CA up by hash (Kamailio's ca_path)
#   current -> generations/2-4f1c0a9be231
#   ca.crt -> current/ca.crt, and hashed, server.crt, server.key likewise
#
# Guarantees: what is behind `current` was checked whole; a pair that fails a check is never seen by a server; the
# generation before stays, for the way back; generation 0 removes nothing.

# usage: generation_name SETTINGS    prints the directory's name
generation_name() {
  local -n _named=$1
  local digest=${_named[CERTIFICATE_SHA256]:-}
  digest=${digest:-${_named[CA_SHA256]}}
  printf '%s-%s' "${_named[CERTIFICATE_GENERATION]}" "${digest:0:12}"
}

# usage: current_generation    prints the name of the directory that `current` points to, or nothing
current_generation() {
  local target
  target=$(readlink "$VOICEAI_TLS/current") || return 0
  printf '%s' "${target##*/}"
}

# usage: hex_of TEXT    prints the fingerprint in openssl's TEXT ("sha256 Fingerprint=AB:CD…") as 64 hex digits
hex_of() {
  [[ $1 =~ Fingerprint=([0-9A-Fa-f:]+) ]] || return
  local digits=${BASH_REMATCH[1]//:/}
  printf '%s' "${digits,,}"
}

# usage: certificate_sha256 FILE    prints the SHA-256 of the certificate's DER, 64 hex digits
certificate_sha256() {
  local text
  text=$(openssl x509 -in "$1" -noout -fingerprint -sha256 2>/dev/null) && hex_of "$text"
}

# usage: check_certificate FILE WHAT WANTED_SHA256    parses, is the one that was issued, is valid now. Leaves
# openssl's description in CERTIFICATE_TEXT: the subject's hash first, extensions and public key.
check_certificate() {
  local found
  # -checkend makes the status non-zero for an expired certificate as well as for none.
  CERTIFICATE_TEXT=$(openssl x509 -in "$1" -noout -subject_hash -fingerprint -sha256 -enddate -pubkey \
    -ext basicConstraints,subjectAltName -checkend 0 2>/dev/null) || true
  found=$(hex_of "$CERTIFICATE_TEXT") ||
    problem "$2 is corrupt: it is no certificate in PEM; put it right in Secrets Manager, or reissue" || return
  [[ $found == "$3" ]] ||
    problem "$2 has the fingerprint $found, and the settings want $3: Secrets Manager holds another generation than the one asked for; run the program's \`pulumi up\` again" || return
  [[ $CERTIFICATE_TEXT == *'will not expire'* ]] ||
    problem "$2 has expired ($(grep -o 'notAfter=.*' <<<"$CERTIFICATE_TEXT")): reissue by CERTIFICATE_GENERATION"
}

# usage: names_in TEXT    prints the SANs of openssl's TEXT on one line, without their kinds
names_in() {
  local line=${1#*Subject Alternative Name:*$'\n'}
  [[ $line != "$1" ]] || return 0
  line=${line%%$'\n'*}
  line=${line// /}
  line=${line//DNS:/}
  line=${line//IPAddress:/}
  printf '%s' "${line//,/ }"
}

# usage: certificate_names FILE    prints the SANs on one line
certificate_names() {
  names_in "$(openssl x509 -in "$1" -noout -ext subjectAltName 2>/dev/null)"
}

# usage: check_names FILE TEXT NAMES    every dialed name (comma-separated) is in the certificate's SANs. TEXT is
# openssl's description; what is not there letter by letter (a wildcard's match, another spelling of an address) is
# put to openssl.
check_names() {
  local name kind answer listed missing=()
  listed=" $(names_in "$2") "
  for name in ${3//,/ }; do
    [[ ${listed,,} != *" ${name,,} "* ]] || continue
    kind=-checkhost
    if [[ $name =~ ^[0-9.]+$ || $name == *:* ]]; then kind=-checkip; fi
    answer=$(openssl x509 -in "$1" -noout "$kind" "$name" 2>&1) || true
    [[ $answer == *'does match certificate'* ]] || missing+=("$name")
  done
  ((${#missing[@]} == 0)) ||
    problem "the server certificate does not cover ${missing[*]}, which clients dial (DIALED_NAMES); its names are:$listed; add the name to the configuration and reissue by CERTIFICATE_GENERATION"
}

# usage: check_key DIR WHAT TEXT    the key is one, is the certificate's (TEXT: openssl's description of it), and is
# readable by the servers alone
check_key() {
  local public
  [[ $(stat -c '%a %u:%g' "$1/server.key" 2>/dev/null) == "600 $SERVER_OWNER" ]] ||
    problem "$2 must be mode 0600 and owned by $SERVER_OWNER" || return
  public=$(openssl pkey -in "$1/server.key" -passin pass: -pubout 2>/dev/null </dev/null) ||
    problem "$2 is corrupt: it is no private key in PEM; put it right in Secrets Manager, or reissue" || return
  # No text, no certificate: that was said already.
  [[ -z $3 || $3 == *"$public"* ]] ||
    problem "$2 does not belong to the server certificate: Secrets Manager holds two halves of different pairs; run the program's \`pulumi up\` again, or reissue"
}

# usage: check_generation DIR SETTINGS [SECRETS]    everything that can be proved of a directory's files. Problems
# name the secrets where SECRETS is given, otherwise the files.
check_generation() {
  local -n _wanted=$2
  local dir=$1 failed=0 words
  local ca="$1/ca.crt" cert="$1/server.crt" key="$1/server.key"
  if [[ -n ${3:-} ]]; then
    ca="secret ${_wanted[SECRET_CA]}" cert="secret ${_wanted[SECRET_CERT]:-}" key="secret ${_wanted[SECRET_KEY]:-}"
  fi
  if check_certificate "$dir/ca.crt" "$ca" "${_wanted[CA_SHA256]}"; then
    [[ $CERTIFICATE_TEXT == *CA:TRUE* ]] ||
      problem "$ca is not a CA: its basicConstraints do not say CA:TRUE" || failed=1
    [[ $(readlink "$dir/hashed/${CERTIFICATE_TEXT%%$'\n'*}.0") == ../ca.crt ]] ||
      problem "$dir/hashed does not lead to ca.crt by its hash" || failed=1
  else
    failed=1
  fi
  has_servers "$2" || return "$failed"
  if check_certificate "$dir/server.crt" "$cert" "${_wanted[CERTIFICATE_SHA256]}"; then
    words=$(openssl verify -no-CApath -no-CAstore -purpose sslserver -CAfile "$dir/ca.crt" "$dir/server.crt" 2>&1) ||
      problem "$cert is not a server certificate of this CA: $(sed -n 's/^error [0-9]* at [^:]*: *//p' <<<"$words" | tail -n 1)" || failed=1
    check_names "$dir/server.crt" "$CERTIFICATE_TEXT" "${_wanted[DIALED_NAMES]}" || failed=1
  else
    failed=1
  fi
  check_key "$dir" "$key" "$CERTIFICATE_TEXT" || failed=1
  return "$failed"
}

# usage: certificate_holds SETTINGS    whether what is behind `current` is exactly what the settings want
certificate_holds() {
  local -n _held=$1
  [[ ${_held[CERTIFICATE_GENERATION]} != 0 ]] || return 0
  local name
  name=$(generation_name "$1")
  [[ $(current_generation) == "$name" ]] || problem "$VOICEAI_TLS/current does not point to $name" || return
  links_hold "$1" || problem "a file of $VOICEAI_TLS does not lead to $VOICEAI_TLS/current" || return
  check_generation "$VOICEAI_TLS/current" "$1"
}

# usage: hash_ca DIR    makes DIR/hashed, unless it is right already; a CA that cannot be read is check_generation's to say
hash_ca() {
  local hash new=$1/.hashed.new
  hash=$(openssl x509 -in "$1/ca.crt" -noout -subject_hash 2>/dev/null) || return 0
  [[ $(readlink "$1/hashed/$hash.0") != ../ca.crt ]] || return 0
  rm -rf "$new" && mkdir -m 0755 "$new" && ln -s ../ca.crt "$new/$hash.0" && rm -rf "$1/hashed" && mv -T "$new" "$1/hashed" ||
    problem "cannot make $1/hashed: no permission, or the disk is full; nothing was changed"
}

# usage: certificate_links SETTINGS    prints the names that servers and clients are configured with
certificate_links() {
  certificate_files "$1"
  printf 'hashed\n'
}

# usage: certificate_files SETTINGS    prints the files that this kind of host has
certificate_files() {
  printf 'ca.crt\n'
  if has_servers "$1"; then printf 'server.crt\nserver.key\n'; fi
}

# usage: links_hold SETTINGS    whether the names that servers and clients are configured with lead to `current`
links_hold() {
  local file
  for file in $(certificate_links "$1"); do
    [[ $(readlink "$VOICEAI_TLS/$file") == "current/$file" ]] || return 1
  done
}

# usage: stage_generation SETTINGS    brings the wanted generation to disk, checked, without anyone seeing it yet.
# Secrets Manager is asked only when the disk does not have it.
stage_generation() {
  local -n _staged=$1
  [[ ${_staged[CERTIFICATE_GENERATION]} != 0 ]] || return 0
  local name dir
  name=$(generation_name "$1")
  dir=$VOICEAI_TLS/generations/$name
  make_dir "$VOICEAI_TLS" 0755 && make_dir "$VOICEAI_TLS/generations" 0755 || return
  # What a killed run left: nothing looks at it.
  rm -rf "$VOICEAI_TLS"/generations/.*.new
  # A bundle before this one may have made the directory.
  if [[ -d $dir ]] && hash_ca "$dir" && check_generation "$dir" "$1" 2>/dev/null; then return 0; fi
  fetch_generation "$1" "$VOICEAI_TLS/generations/.$name.new" || {
    rm -rf "$VOICEAI_TLS/generations/.$name.new"
    return 1
  }
  if [[ -d $dir ]]; then
    # A file of this very generation was damaged: the right ones replace it one by one, so that `current`, which
    # may point here, leads somewhere at every moment.
    local file
    for file in $(certificate_files "$1"); do
      mv -f "$VOICEAI_TLS/generations/.$name.new/$file" "$dir/$file" || return
    done
    hash_ca "$dir" || return
    rm -rf "$VOICEAI_TLS/generations/.$name.new"
  else
    mv -T "$VOICEAI_TLS/generations/.$name.new" "$dir" || return
  fi
  say "certificate generation ${_staged[CERTIFICATE_GENERATION]} is on disk and checked"
}

# usage: fetch_generation SETTINGS DIR    fetches the host's secrets into DIR, which nobody else may enter, and checks
# them there
fetch_generation() {
  local -n _fetched=$1
  local dir=$2 reader file failed=0 asked=()
  local -A secret=(['ca.crt']=${_fetched[SECRET_CA]})
  if has_servers "$1"; then secret+=(['server.crt']=${_fetched[SECRET_CERT]} ['server.key']=${_fetched[SECRET_KEY]}); fi
  reader=$(secret_reader) ||
    problem "neither the AWS CLI nor python3 with boto3 is here: install one to read Secrets Manager" || return
  [[ -z ${_fetched[AWS_REGION]:-} ]] || export AWS_REGION=${_fetched[AWS_REGION]}
  (umask 077 && mkdir "$dir") 2>/dev/null ||
    problem "cannot make $dir: no permission, or the disk is full; nothing was changed" || return
  for file in "${!secret[@]}"; do
    place_empty "$dir/$file.b64" 0:0 || return
    asked+=("${secret[$file]}" "$dir/$file.b64")
  done
  get_secrets "$reader" "${asked[@]}" 2>/dev/null
  for file in "${!secret[@]}"; do
    if [[ $file == *.key ]]; then
      decode_secret "${secret[$file]}" "$dir/$file" 0600 "$SERVER_OWNER" || failed=1
    else
      decode_secret "${secret[$file]}" "$dir/$file" 0644 0:0 || failed=1
    fi
  done
  ((failed == 0)) || return
  rm -f "$dir"/*.err
  hash_ca "$dir" && check_generation "$dir" "$1" named || return
  sync "$dir"/* "$dir" && chmod 0755 "$dir"
}

# usage: flip_generation SETTINGS    points `current` at the wanted generation, removes all but it and the one before
flip_generation() {
  local -n _flipped=$1
  local name before file dir
  before=$(current_generation)
  if [[ ${_flipped[CERTIFICATE_GENERATION]} == 0 ]]; then
    [[ -z $before ]] || say "certificate generation 0: the files of $before stay, a server may have them in use; nothing is removed"
    return 0
  fi
  name=$(generation_name "$1")
  [[ -d $VOICEAI_TLS/generations/$name ]] ||
    problem "certificate generation $name is not on this host's disk" || return
  point_link "generations/$name" "$VOICEAI_TLS/current" || return
  for file in $(certificate_links "$1"); do
    point_link "current/$file" "$VOICEAI_TLS/$file" || return
  done
  if [[ $before != "$name" ]]; then
    for dir in "$VOICEAI_TLS"/generations/*/; do
      dir=${dir%/}
      one_of "${dir##*/}" "$name" "$before" || rm -rf "$dir"
    done
  fi
}

# usage: point_link TARGET LINK    makes LINK point at TARGET in one rename, or leaves a right one alone
point_link() {
  [[ $(readlink "$2") != "$1" ]] || return 0
  local new=${2%/*}/.${2##*/}.new
  ln -sfn "$1" "$new" && mv -fT "$new" "$2" ||
    problem "cannot point $2 at $1: no permission, or the disk is full; what was there is unchanged"
}

# usage: ensure_wrong_ca    a CA that nobody uses, so that a proof can show that a wrong one is refused. Its key
# exists only inside openssl.
ensure_wrong_ca() {
  local file=$VOICEAI_TLS/wrong-ca.crt pem
  [[ ! -s $file ]] || return 0
  ! looking || problem "$file is missing, which proofs need: update.sh --restart-only makes it; nothing was changed" || return
  make_dir "$VOICEAI_TLS" 0755 || return
  pem=$(openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /dev/null -days 7300 \
    -subj '/CN=wrong CA, trusted by nobody' -addext basicConstraints=critical,CA:TRUE \
    -addext keyUsage=critical,keyCertSign,cRLSign 2>/dev/null) || problem 'openssl could not make a certificate' || return
  write_file "$file" 0644 0:0 "$pem"
}
