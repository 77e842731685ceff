# usage: awk -v block=FILE -f ini-block.awk INI
# PgBouncer's ini with the lines of FILE, which carry their own marks, as the last ones of its section [pgbouncer]: a
# second header of that section would set everything before it to its default again. Lines between the marks that are
# there already are left out; with an empty `block` that is all. Status 3 where there is no such section.
function insert(line) {
  if (block == "" || placed) return
  placed = 1
  while ((getline line <block) > 0) print line
}
/^;;; internal-tls: begin/ { inside = 1 }
inside {
  if (/^;;; internal-tls: end/) inside = 0
  next
}
/^[ \t]*\[/ {
  if (section) insert()
  section = tolower($0) ~ /^[ \t]*\[pgbouncer\]/
  if (section) seen = 1
}
{ print }
END {
  if (section) insert()
  if (!seen) exit 3
}
