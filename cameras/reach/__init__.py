"""What may be opened, and how do we sign in?

`addresses` judges, resolves and connects; `checked_http` is HTTP that cannot go anywhere else; `login` answers
challenges and `login_guard` limits logins; `credentials` seals passwords at rest.
"""
