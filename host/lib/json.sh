# shellcheck shell=bash
# shellcheck disable=SC2034 # names that other libraries read
# JSON without jq, which hosts may lack: text into strings, and objects and lists that grow in a variable. Nothing forks.

# usage: json_string TEXT    JSON is TEXT as a string. Bytes above 127 stay as they are: names are chosen by clients, and
# may be no UTF-8.
json_string() {
  local LC_ALL=C text=${1//\\/\\\\} rest code
  text=${text//\"/\\\"}
  while [[ $text =~ [[:cntrl:]] ]]; do
    rest=${BASH_REMATCH[0]}
    printf -v code '\\u%04x' "'$rest"
    text=${text//"$rest"/"$code"}
  done
  JSON="\"$text\""
}

# usage: put OBJECT KEY TEXT    adds a string to the object that grows in the variable OBJECT
put() {
  json_string "$3"
  printf -v "$1" '%s"%s":%s,' "${!1}" "$2" "$JSON"
}

# usage: put_raw OBJECT KEY JSON    adds what is JSON already: a number, true, an object
put_raw() { printf -v "$1" '%s"%s":%s,' "${!1}" "$2" "$3"; }

# usage: put_number OBJECT KEY TEXT    adds a whole number, or null for any other text
put_number() { if [[ $3 =~ ^[0-9]{1,18}$ ]]; then put_raw "$1" "$2" "$((10#$3))"; else put_raw "$1" "$2" null; fi; }

# usage: put_truth OBJECT KEY COMMAND...    adds whether the command succeeds
put_truth() { if "${@:3}"; then put_raw "$1" "$2" true; else put_raw "$1" "$2" false; fi; }

# usage: put_map OBJECT KEY MAP    adds an associative array
put_map() {
  local -n _mapped=$3
  local _object='' _key
  for _key in "${!_mapped[@]}"; do
    json_string "$_key"
    _object+=$JSON:
    json_string "${_mapped[$_key]}"
    _object+=$JSON,
  done
  put_raw "$1" "$2" "{${_object%,}}"
}

# usage: add_to LIST JSON    adds an element to the list that grows in the variable LIST
add_to() { printf -v "$1" '%s%s,' "${!1}" "$2"; }

# usage: list_of TEXT...    JSON is a list of strings
list_of() {
  local _list='' _text
  for _text in "$@"; do
    json_string "$_text"
    _list+=$JSON,
  done
  JSON="[${_list%,}]"
}
