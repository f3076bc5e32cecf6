package webadmin

// frameTexts are those of the frame, of times, and of what many pages share.
func frameTexts() map[string]words {
	return map[string]words{
		"nav.label":      {"Sections", "Разделы"},
		"nav.more":       {"More", "Ещё"},
		"nav.skip":       {"Skip to the content", "Перейти к содержанию"},
		"nav.gates":      {"Gates", "Точки доступа"},
		"nav.menu":       {"Your menu", "Ваше меню"},
		"menu.account":   {"Your account", "Ваша учётная запись"},
		"menu.sign_out":  {"Sign out", "Выйти"},
		"menu.theme":     {"Colours", "Оформление"},
		"theme.light":    {"Light", "Светлое"},
		"theme.dark":     {"Dark", "Тёмное"},
		"theme.system":   {"As the system", "Как в системе"},
		"language.label": {"Language", "Язык"},

		"role.viewer":  {"Viewer", "Наблюдатель"},
		"role.manager": {"Manager", "Менеджер"},
		"role.owner":   {"Owner", "Владелец"},

		"button.save":      {"Save", "Сохранить"},
		"button.save_over": {"Save mine all the same", "Всё равно сохранить моё"},
		"button.cancel":    {"Cancel", "Отмена"},
		"button.search":    {"Search", "Найти"},
		"button.clear":     {"Clear", "Сбросить"},
		"pager.label":      {"Pages", "Страницы"},
		"pager.first":      {"Back to the start", "В начало"},
		"pager.next":       {"Next", "Дальше"},
		"form.problems":    {"This could not be saved", "Сохранить не удалось"},
		"form.refilled":    {"What you had entered is back in the form, except passwords. It is not saved yet.", "Введённое снова в форме, кроме паролей. Оно ещё не сохранено."},

		"conflict.title":  {"Somebody else changed this while you were editing", "Пока вы редактировали, запись изменили"},
		"conflict.mine":   {"You changed this in another window while you were editing here", "Пока вы редактировали здесь, вы изменили запись в другом окне"},
		"conflict.by":     {"Changed by %s.", "Кто изменил: %s."},
		"conflict.field":  {"%s: was “%s”, is now “%s”", "%s: было «%s», стало «%s»"},
		"conflict.none":   {"None of the fields below is affected.", "Полей ниже это не касается."},
		"conflict.what":   {"What you entered still stands below and is not saved yet.", "То, что ввели вы, осталось в полях ниже и пока не сохранено."},
		"confirm.changed": {"It was changed by somebody else since you opened this page. Look again before you go on.", "С тех пор как вы открыли страницу, запись изменили. Проверьте ещё раз, прежде чем продолжить."},

		"decision.ALLOW": {"Allow", "Пропуск"},
		"decision.DENY":  {"Deny", "Отказ"},

		"time.now":     {"just now", "только что"},
		"time.s_ago":   {"%d s ago", "%d с назад"},
		"time.min_ago": {"%d min ago", "%d мин назад"},
		"time.h_ago":   {"%d h ago", "%d ч назад"},
		"time.d_ago":   {"%d d ago", "%d дн. назад"},
		"time.in_s":    {"in %d s", "через %d с"},
		"time.in_min":  {"in %d min", "через %d мин"},
		"time.in_h":    {"in %d h", "через %d ч"},
		"time.in_d":    {"in %d d", "через %d дн."},
		"time.months":  {"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec", "янв. фев. марта апр. мая июня июля авг. сен. окт. ноя. дек."},
		"time.seconds": {"%s s", "%s с"},
		"time.ms":      {"ms", "мс"},
	}
}
