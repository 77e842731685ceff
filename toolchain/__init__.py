"""The set-up: everything that this project needs on a machine, from nothing but Python's standard library.

Runs before there is a virtual environment, so no module here imports a third-party package.
Guarantees:

* what is fetched or built lies in `.venv/` and `.tools/` (both ignored by git); packages of the operating system are
  installed only as root on Debian or Ubuntu, and announced first;
* nothing is done twice: each part leaves a stamp that names what it was made from, written when the part is complete;
* a set-up that was interrupted is resumed by the next one, and two at once wait for each other.
"""
