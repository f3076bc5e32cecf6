package webadmin

// accountTexts are those of signing in and of one's own account.
func accountTexts() map[string]words {
	return map[string]words{
		"login.title":     {"Sign in", "Вход"},
		"login.username":  {"User name", "Имя пользователя"},
		"login.password":  {"Password", "Пароль"},
		"login.button":    {"Sign in", "Войти"},
		"login.bad":       {"User name and password do not fit together. Check both; capitals count.", "Имя пользователя и пароль не подходят друг к другу. Проверьте оба; регистр важен."},
		"login.no_role":   {"The password is right, but you have no role here. An owner of this site can give you one.", "Пароль верный, но роли здесь у вас нет. Её может дать владелец."},
		"login.throttled": {"Too many attempts. Try again in %s second.|Too many attempts. Try again in %s seconds.", "Слишком много попыток. Попробуйте через %s секунду.|Слишком много попыток. Попробуйте через %s секунды.|Слишком много попыток. Попробуйте через %s секунд."},
		"login.lead":      {"Who may open what", "Кому что открыто"},

		"account.title":           {"Your account", "Ваша учётная запись"},
		"account.role":            {"Role", "Роль"},
		"account.email":           {"E-mail", "Почта"},
		"account.password":        {"Password", "Пароль"},
		"account.password.lead":   {"A new password signs out every other browser and every phone app that uses your user name.", "Новый пароль завершает сеансы во всех других браузерах и в приложениях с вашим именем пользователя."},
		"account.current":         {"Present password", "Нынешний пароль"},
		"account.new":             {"New password", "Новый пароль"},
		"account.repeat":          {"New password, again", "Новый пароль ещё раз"},
		"account.rules":           {"At least 8 characters, not only digits, not one you had before.", "Не короче 8 символов, не одни цифры и не из прежних."},
		"account.change":          {"Change the password", "Сменить пароль"},
		"account.wrong":           {"This is not your present password.", "Это не ваш нынешний пароль."},
		"account.differs":         {"The two do not agree.", "Пароли не совпадают."},
		"account.sessions":        {"Where you are signed in", "Где выполнен вход"},
		"account.sessions.lead":   {"A browser is signed out after 8 hours without use, and after 7 days in any case.", "Сеанс завершается через 8 часов бездействия и в любом случае через 7 дней."},
		"account.browser":         {"Browser", "Браузер"},
		"account.address":         {"Address", "Адрес"},
		"account.since":           {"Signed in", "Вход"},
		"account.seen":            {"Last seen", "Активность"},
		"account.here":            {"This browser", "Этот браузер"},
		"account.end":             {"Sign out", "Завершить"},
		"account.end_all":         {"Sign out everywhere", "Выйти везде"},
		"account.end_all.hint":    {"Here too: you will sign in again.", "Здесь тоже: войти придётся снова."},
		"account.unknown_browser": {"Unknown browser", "Неизвестный браузер"},

		"flash.session_over":          {"You were signed out meanwhile. What you sent was not saved.", "Сеанс успел завершиться. Отправленное не сохранено."},
		"flash.signed_out":            {"You are signed out.", "Вы вышли."},
		"flash.signed_out_everywhere": {"You are signed out everywhere.", "Вы вышли на всех устройствах."},
		"flash.session_ended":         {"That browser is signed out.", "Сеанс в том браузере завершён."},
		"flash.password_changed":      {"The password is changed. All other browsers and apps are signed out.", "Пароль изменён. Все остальные сеансы завершены."},
	}
}
