"""`breezeway doctor`: one module for each kind of check; none of them changes anything."""
